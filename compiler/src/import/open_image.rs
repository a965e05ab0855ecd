//! Images whose size the file leaves open.
//!
//! The weights of the first convolution tell the number of channels. Position embeddings tell the
//! number of patches: of the square images of whole patches, only one can be imported.

use super::{Extents, Fault, ImportError, ImportOptions, Problem, import_with};
use crate::ir::Graph;
use crate::onnx::{Dim, Model, Place, Tensor};
use vitcod_isa::program::Decision;

/// The most patches along the side of an image that are tried.
const MOST_PATCHES: usize = 40;

const HEIGHT: usize = 2;
const WIDTH: usize = 3;

/// An input that a convolution reads.
struct OpenImage<'m> {
    index: usize,
    /// The open dimensions that no option states, by axis.
    open: Vec<usize>,
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    name: &'m str,
    shape: &'m [Dim],
}

/// Imports a model that has an image with open dimensions; `None` if it has none.
pub(super) fn infer(model: &Model, options: &ImportOptions) -> Option<Result<Graph, ImportError>> {
    let images: Vec<OpenImage<'_>> =
        (0..model.graph.inputs.len()).filter_map(|i| open_image(model, options, i)).collect();
    if images.is_empty() {
        return None;
    }
    let sized = |patches: usize| -> Extents {
        let mut extents = Extents::new();
        for image in &images {
            for axis in &image.open {
                let extent = match *axis {
                    1 => image.channels,
                    axis => {
                        let i = axis - HEIGHT;
                        image.kernel[i]
                            .saturating_add((patches - 1).saturating_mul(image.stride[i]))
                    }
                };
                extents.insert((image.index, *axis), extent);
            }
        }
        extents
    };
    let any_size = images.iter().any(|image| image.open.iter().any(|axis| *axis >= HEIGHT));
    if !any_size {
        return Some(import_with(model, options, &sized(1)));
    }
    let mut fitting = None;
    let mut nearest: Option<ImportError> = None;
    // A single patch comes last: it broadcasts, and so fits weights for any number.
    for patches in (2..=MOST_PATCHES).chain([1]) {
        if patches == 1 && fitting.is_some() {
            break;
        }
        let graph = match import_with(model, options, &sized(patches)) {
            Ok(graph) => graph,
            // What is not supported at one size is not supported at any.
            Err(error) if error.problems.kept().iter().any(is_unsupported) => {
                return Some(Err(error));
            }
            Err(error) => {
                let found = |error: &ImportError| error.problems.found();
                if nearest.as_ref().is_none_or(|nearest| found(&error) < found(nearest)) {
                    nearest = Some(error);
                }
                continue;
            }
        };
        if fitting.is_some() {
            (fitting, nearest) = (None, None);
            break;
        }
        fitting = Some((patches, graph));
    }
    let Some((patches, mut graph)) = fitting else {
        let reason = nearest.as_ref().and_then(|error| error.problems.kept().first());
        return Some(Err(unknown(&images[0], reason)));
    };
    for image in &images {
        for axis in &image.open {
            let extent = sized(patches)[&(image.index, *axis)];
            let reason = match axis {
                1 => "the weights of the first convolution tell it".to_owned(),
                _ => format!(
                    "no other square image of up to {MOST_PATCHES} patches fits the weights"
                ),
            };
            let subject = format!("dimension {} of {:?}", dim_name(image, *axis), image.name);
            let decision = Decision::new("the model", subject, extent.to_string(), reason);
            graph.decisions.push(decision);
        }
    }
    Some(Ok(graph))
}

fn is_unsupported(problem: &Problem) -> bool {
    matches!(problem.fault, Fault::Operator { .. } | Fault::Domain { .. } | Fault::Opset { .. })
}

/// The name of a dimension, or its axis.
fn dim_name(image: &OpenImage<'_>, axis: usize) -> String {
    match &image.shape[axis] {
        Dim::Symbol(name) => name.clone(),
        Dim::Known(_) | Dim::Unknown => format!("{axis}, which has no name,"),
    }
}

/// The input of this index if it is an image with open dimensions.
fn open_image<'m>(
    model: &'m Model,
    options: &ImportOptions,
    index: usize,
) -> Option<OpenImage<'m>> {
    let input = &model.graph.inputs[index];
    let is_open = |axis: &usize| match &input.shape[*axis] {
        Dim::Known(_) => false,
        Dim::Symbol(name) => !options.dims.contains_key(name),
        Dim::Unknown => true,
    };
    let open: Vec<usize> = (1..input.shape.len()).filter(is_open).collect();
    if input.shape.len() != 4 || open.is_empty() {
        return None;
    }
    let convolution = model.graph.nodes.iter().find(|node| {
        node.op_type == "Conv" && node.inputs.first() == Some(&Some(input.name.clone()))
    })?;
    let weights: &Tensor = model.graph.initializers.get(convolution.inputs.get(1)?.as_deref()?)?;
    let &[_, channels, height, width] = weights.dims() else { return None };
    let group = usize::try_from(convolution.int("group").ok()?.unwrap_or(1)).ok()?;
    let strides = convolution.ints("strides").ok()?.unwrap_or(&[1, 1]);
    let stride = |i: usize| strides.get(i).and_then(|stride| usize::try_from(*stride).ok());
    Some(OpenImage {
        index,
        open,
        channels: channels.saturating_mul(group),
        kernel: [height, width],
        stride: [stride(0)?, stride(1)?],
        name: &input.name,
        shape: &input.shape,
    })
}

/// The problem that the size of an image is not known; `reason` is the first problem of the import
/// with the size that has the fewest.
fn unknown(image: &OpenImage<'_>, reason: Option<&Problem>) -> ImportError {
    let open = || [HEIGHT, WIDTH].into_iter().filter(|axis| image.open.contains(axis));
    let named = |axis: usize| match &image.shape[axis] {
        Dim::Symbol(name) => Some(format!("--dim {name}=N")),
        Dim::Known(_) | Dim::Unknown => None,
    };
    let expected = match open().map(named).collect::<Option<Vec<String>>>() {
        Some(options) => format!("a size of the image ({})", options.join(" ")),
        None => "a size of the image in the file (onnx.tools.update_model_dims)".to_owned(),
    };
    let found = match reason {
        Some(reason) => format!("open dimensions, and no size fits: {reason}"),
        None => "open dimensions, and several sizes that fit the weights".to_owned(),
    };
    let problem = *Fault::mismatch(expected, found).at(Place::Input(image.name.to_owned()));
    ImportError { problems: problem.into() }
}
