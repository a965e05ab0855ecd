use crate::interp::InterpError;
use crate::ir::Stage;

/// Why auto-encoders cannot be placed or made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AutoencoderError {
    /// The graph is of another stage.
    #[error("auto-encoders: expected a graph of stage canonical, found stage {0}")]
    Stage(Stage),
    /// A layer whose cost cannot be told, as no instruction holds it.
    #[error("{layer}: {what} {count}; an instruction holds {}", u16::MAX)]
    TooLarge {
        /// Name of the attention layer.
        layer: String,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        count: usize,
    },
    /// No compressed heads, or more than heads.
    #[error("{layer}: {}; expected 1 to {heads}", match asked {
        0 => "no compressed heads".to_owned(),
        _ => format!("{asked} compressed heads above {heads} heads"),
    })]
    CompressedHeads {
        /// Name of the attention layer.
        layer: String,
        /// Compressed heads asked for.
        asked: usize,
        /// Heads of the layer.
        heads: usize,
    },
    /// More heads than principal components are computed of.
    #[error("{layer}: principal components of {heads} heads; expected at most {most}")]
    TooManyHeads {
        /// Name of the attention layer.
        layer: String,
        /// Number of heads of the layer.
        heads: usize,
        /// The most there may be.
        most: usize,
    },
    /// Samples on which Q or K is infinite or undefined.
    #[error("{layer}: infinite or undefined numbers occur in {operand} on the samples")]
    NotFinite {
        /// Name of the attention layer.
        layer: String,
        /// `Q` or `K`.
        operand: &'static str,
    },
    /// The samples cannot be run.
    #[error(transparent)]
    Run(#[from] InterpError),
}
