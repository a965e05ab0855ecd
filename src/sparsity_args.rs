//! Options for sparse attention: masks, global tokens, auto-encoders.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use vitcod_compiler::autoencoder::{Choice, Form};
use vitcod_compiler::masks::{Masks, Polarity};
use vitcod_compiler::split::GlobalTokens;

use crate::files;

/// The masks of a model.
#[derive(clap::Args)]
pub(crate) struct MaskArgs {
    /// Attention mask, [layers, heads, tokens, tokens], bool or 0 and 1, in the format of `vitcod
    /// prune` and of the authors: only kept entries are computed
    #[arg(long, value_name = "M.npy")]
    pub(crate) masks: Option<PathBuf>,

    #[command(flatten)]
    polarity: PolarityArg,
}

impl MaskArgs {
    /// Reads the masks, if there are any.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Masks>> {
        self.masks.as_deref().map(|path| self.polarity.read(path)).transpose()
    }
}

/// How to read a mask file.
#[derive(clap::Args)]
pub(crate) struct PolarityArg {
    /// Meaning of 1 (or True) in the mask [default: inferred from the class token, whose row and
    /// column are always kept]
    #[arg(long, value_enum, requires = "masks")]
    polarity: Option<PolarityName>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PolarityName {
    /// The entry is pruned, as in the authors' files
    Pruned,
    /// The entry is kept
    Kept,
}

impl PolarityArg {
    /// Reads the masks in a file.
    pub(crate) fn read(&self, path: &Path) -> anyhow::Result<Masks> {
        let polarity = self.polarity.map(|name| match name {
            PolarityName::Pruned => Polarity::PrunedIsTrue,
            PolarityName::Kept => Polarity::KeptIsTrue,
        });
        Masks::from_npy(&files::read(path)?, polarity)
            .with_context(|| format!("{} is not a valid mask file", path.display()))
    }
}

/// How global tokens are chosen.
#[derive(clap::Args)]
pub(crate) struct GlobalTokensArg {
    /// Which keys are global tokens, computed by the denser engine: those that more than K queries
    /// keep, or those that the cost model selects (auto). Never changes the output bits
    #[arg(long, value_name = "K|auto", default_value = "auto", value_parser = global_tokens)]
    pub(crate) theta_d: GlobalTokens,
}

fn global_tokens(text: &str) -> Result<GlobalTokens, String> {
    match text {
        "auto" => Ok(GlobalTokens::Auto),
        _ => text
            .parse()
            .map(GlobalTokens::Above)
            .map_err(|_| "expected auto or a number of queries".to_owned()),
    }
}

/// How auto-encoders are computed.
#[derive(clap::Args)]
pub(crate) struct AutoencoderArg {
    /// How auto-encoders of Q and K are computed: apart (encode and decode instructions),
    /// fold-encoder (encoder folded into the projection), fold-both (both folded), or auto (fewest
    /// weighted cycles, per layer). `pca:E[:FORM]` first adds PCA auto-encoders with E compressed
    /// heads to a model without any; needs --calibration
    #[arg(long, value_name = "FORM|pca:E[:FORM]", default_value = "auto", value_parser = autoencoder)]
    pub(crate) autoencoder: Autoencoder,
}

/// How auto-encoders are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Autoencoder {
    /// Compressed heads of PCA auto-encoders to add.
    pub(crate) principal: Option<usize>,
    /// The form in which they are computed.
    pub(crate) form: Choice,
}

impl Autoencoder {
    /// The model's own auto-encoders, in the form with the fewest weighted cycles.
    pub(crate) const AUTO: Autoencoder = Autoencoder { principal: None, form: Choice::Auto };
}

impl fmt::Display for Autoencoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(heads) = self.principal {
            write!(f, "pca:{heads}:")?;
        }
        match self.form {
            Choice::Auto => f.write_str(AUTO),
            Choice::Always(form) => form.fmt(f),
        }
    }
}

const AUTO: &str = "auto";

fn autoencoder(text: &str) -> Result<Autoencoder, String> {
    let (principal, form_name) = match text.strip_prefix("pca:") {
        None => (None, text),
        Some(rest) => {
            let (heads, form) = rest.split_once(':').unwrap_or((rest, AUTO));
            (
                Some(
                    heads
                        .parse()
                        .map_err(|_| "expected a number of compressed heads after pca:")?,
                ),
                form,
            )
        }
    };
    let form = match Form::ALL.into_iter().find(|form| form.name() == form_name) {
        Some(form) => Choice::Always(form),
        None if form_name == AUTO => Choice::Auto,
        None => {
            let names = Form::ALL.map(Form::name).join(", ");
            return Err(format!("expected {AUTO}, {names}, pca:E or pca:E:FORM"));
        }
    };
    Ok(Autoencoder { principal, form })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_auto_encoders_is_read_as_it_is_written() {
        for text in ["auto", "apart", "fold-encoder", "fold-both", "pca:2:auto", "pca:1:apart"] {
            assert_eq!(
                autoencoder(text).map(|autoencoder| autoencoder.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(
            autoencoder("pca:2"),
            Ok(Autoencoder { principal: Some(2), ..Autoencoder::AUTO })
        );
        for text in ["", "none", "pca", "pca:", "pca:two", "pca:2:", "pca:-1", "pca:2:pca:2"] {
            assert!(autoencoder(text).is_err(), "{text}");
        }
    }

    #[test]
    fn global_tokens_are_found_by_a_threshold_or_by_cost() {
        assert_eq!(global_tokens("auto"), Ok(GlobalTokens::Auto));
        assert_eq!(global_tokens("50"), Ok(GlobalTokens::Above(50)));
        assert!(global_tokens("-1").is_err());
    }
}
