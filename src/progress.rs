//! Progress of long commands, on standard error if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line on the terminal that names the current step. It is removed when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// An empty line. Nothing is printed if standard error is not a terminal.
    pub(crate) fn new() -> Progress {
        let style = ProgressStyle::with_template("{spinner} {prefix}{msg} ({elapsed})")
            .expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// Sets the subject that is printed before the next steps.
    pub(crate) fn about(&self, what: &str) {
        self.0.set_prefix(format!("{what}: "));
    }

    /// Names the step that begins now.
    pub(crate) fn step(&self, step: &'static str) {
        self.0.set_message(step);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
