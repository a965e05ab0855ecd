//! Progress of long commands, on standard error if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that says which step is under way; gone when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A line without a step. Nothing is ever printed where standard error is no terminal.
    pub(crate) fn new() -> Progress {
        let style = ProgressStyle::with_template("{spinner} {prefix}{msg} ({elapsed})")
            .expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// Sets the subject of the next steps, printed before them.
    pub(crate) fn about(&self, what: &str) {
        self.0.set_prefix(format!("{what}: "));
    }

    /// The step that begins now.
    pub(crate) fn step(&self, step: &'static str) {
        self.0.set_message(step);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
