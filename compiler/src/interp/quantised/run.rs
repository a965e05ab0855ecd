//! Runs, step by step.

use super::{QuantisedInterpreter, Tensor, constant};
use crate::interp::InterpError;
use crate::interp::live::Live;
use crate::ir::{GraphInput, Value};

/// A run that has defined some inputs and executed some operations, in their order.
pub(crate) struct Run<'r> {
    interpreter: &'r QuantisedInterpreter<'r>,
    inputs: &'r [Tensor],
    live: Live<Tensor>,
    /// Inputs that are defined, and operations that are executed.
    steps: usize,
}

impl<'r> Run<'r> {
    /// A run before its first step.
    ///
    /// # Errors
    /// The inputs do not match the graph.
    pub(super) fn new(
        interpreter: &'r QuantisedInterpreter<'r>,
        inputs: &'r [Tensor],
    ) -> Result<Run<'r>, InterpError> {
        let graph = interpreter.graph;
        if inputs.len() != graph.inputs.len() {
            return Err(InterpError::input_count(graph, inputs.len()));
        }
        for (GraphInput { name, value, .. }, input) in graph.inputs.iter().zip(inputs) {
            let expected = graph.ty(*value);
            if expected.elem != input.elem() || expected.elements() != input.len() {
                let found = format!("{}[{}]", input.elem(), input.len());
                let (name, expected) = (name.clone(), expected.clone());
                return Err(InterpError::Input { name, expected, found });
            }
        }
        Ok(Run { interpreter, inputs, live: Live::new(graph), steps: 0 })
    }

    /// The values that the next step defines; none after the last one.
    pub(crate) fn upcoming(&self) -> &'r [Value] {
        let graph = self.interpreter.graph;
        let op = || graph.order.get(self.steps - self.inputs.len());
        match graph.inputs.get(self.steps) {
            Some(input) => std::slice::from_ref(&input.value),
            None => op().map_or(&[], |op| &graph.op(*op).results),
        }
    }

    /// Takes the next step, if there is one, and passes each value that it defines to `replace`.
    /// Later operations read the returned tensor, which must have the same type.
    ///
    /// # Errors
    /// The operation moves elements that are not integers.
    pub(crate) fn step(
        &mut self,
        replace: &mut dyn FnMut(Value, Tensor) -> Tensor,
    ) -> Result<(), InterpError> {
        let Run { interpreter, inputs, live, steps } = self;
        let graph = interpreter.graph;
        if let Some(input) = inputs.get(*steps) {
            let value = graph.inputs[*steps].value;
            live.define(value, replace(value, input.clone()));
        } else if let Some(op) = graph.order.get(*steps - inputs.len()) {
            let results = interpreter
                .evaluate(*op, live)
                .map_err(|message| InterpError::at(graph, *op, message))?;
            for (value, result) in graph.op(*op).results.iter().zip(results) {
                debug_assert_eq!(result.len(), graph.ty(*value).elements(), "{op}");
                live.define(*value, replace(*value, result));
            }
            live.release(graph, *op);
        } else {
            return Ok(());
        }
        *steps += 1;
        Ok(())
    }

    /// The outputs, after the last step.
    ///
    /// # Errors
    /// An output is not a tensor of integers.
    pub(crate) fn outputs(&self) -> Result<Vec<Tensor>, InterpError> {
        let graph = self.interpreter.graph;
        let outputs = graph.outputs.iter().map(|output| {
            let tensor = self.live.get(output.value).cloned();
            let not_integers = || {
                let (name, found) = (output.name.clone(), graph.ty(output.value).clone());
                InterpError::Output { name, found }
            };
            tensor.or_else(|| constant(graph, output.value)).ok_or_else(not_integers)
        });
        outputs.collect()
    }
}
