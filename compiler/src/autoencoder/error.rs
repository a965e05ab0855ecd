use crate::interp::InterpError;
use crate::ir::Stage;

/// Why auto-encoders cannot be placed or added.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AutoencoderError {
    /// The graph is at another stage.
    #[error("auto-encoders: expected a graph of stage canonical, found stage {0}")]
    Stage(Stage),
    /// The cost of a layer is unknown, because it exceeds the limits of an instruction.
    #[error("{layer}: {what} {count}, expected at most {}", u16::MAX)]
    TooLarge {
        /// Name of the attention layer.
        layer: String,
        /// The extent that exceeds a limit.
        what: &'static str,
        /// Its value.
        count: usize,
    },
    /// The number of compressed heads is 0 or exceeds the number of heads.
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
    /// The layer has more heads than the principal components are computed for.
    #[error("{layer}: principal components of {heads} heads; expected at most {most}")]
    TooManyHeads {
        /// Name of the attention layer.
        layer: String,
        /// Number of heads of the layer.
        heads: usize,
        /// The limit.
        most: usize,
    },
    /// Q or K is infinite or NaN on the samples.
    #[error("{layer}: infinite or undefined numbers occur in {operand} on the samples")]
    NotFinite {
        /// Name of the attention layer.
        layer: String,
        /// `Q` or `K`.
        operand: &'static str,
    },
    /// The graph cannot be evaluated on the samples.
    #[error(transparent)]
    Run(#[from] InterpError),
}
