//! Directives: all lines of a program other than instructions.

use std::ops::Range;

use super::arguments::Arguments;
use super::attempt::{Attempt, Order};
use super::data::{self, MAX_SEEDED_BYTES};
use super::kind::Kind;
use super::machine;
use super::section::{Files, Section, Target, check_digest};
use super::symbols::{Symbol, Symbols};
use super::syntax::{Atom, Line, Value};
use super::text::{atom, items, number, string, strings, word};
use crate::effects::Space;
use crate::instr::field::integer;
use crate::instr::{Dram, Field as _, Sram};
use crate::machine::Machine;
use crate::program::{Alternative, Binding, Buffer, Decision, Element, Layer, Layout};
use vitcod_support::diagnostics::{Diagnostic, did_you_mean};
use vitcod_support::problems::Collector;

/// Alignment of buffers and tensors that the assembler places.
pub(super) const PLACED_AT: u64 = 64;

type Done = Result<(), Diagnostic>;

/// A directive and its function.
struct Directive {
    name: &'static str,
    /// The names of its arguments; `None` if it checks them itself.
    names: Option<&'static [&'static str]>,
    apply: for<'s> fn(&mut Definitions<'s, '_>, Arguments<'s>) -> Done,
}

const DIRECTIVES: [Directive; 21] = [
    Directive {
        name: Kind::Program.directive(),
        names: Some(&["dram"]),
        apply: |this, arguments| this.head(arguments, Kind::Program),
    },
    Directive {
        name: Kind::Tiled.directive(),
        names: Some(&["dram"]),
        apply: |this, arguments| this.head(arguments, Kind::Tiled),
    },
    Directive {
        name: Kind::Scheduled.directive(),
        names: Some(&["dram"]),
        apply: |this, arguments| this.head(arguments, Kind::Scheduled),
    },
    Directive { name: ".machine", names: None, apply: |this, arguments| this.machine(arguments) },
    Directive {
        name: ".input",
        names: Some(&["step", "factors", "offsets", "at", "layout", "below", "rows", "inverted"]),
        apply: |this, arguments| this.tensor(arguments, true),
    },
    Directive {
        name: ".output",
        names: Some(&[
            "step",
            "expected_sqnr_db",
            "factors",
            "offsets",
            "at",
            "layout",
            "below",
            "rows",
            "inverted",
        ]),
        apply: |this, arguments| this.tensor(arguments, false),
    },
    Directive {
        name: ".layer",
        names: Some(&["operation", "nodes", "macs", "bytes"]),
        apply: |this, arguments| this.layer(arguments),
    },
    Directive {
        name: ".in",
        names: Some(&["group"]),
        apply: |this, arguments| this.in_layer(arguments),
    },
    Directive {
        name: ".decision",
        names: Some(&["layer", "subject", "chosen", "reason"]),
        apply: |this, arguments| this.decision(arguments),
    },
    Directive {
        name: ".alternative",
        names: Some(&["cycles", "bytes"]),
        apply: |this, arguments| this.alternative(arguments),
    },
    Directive { name: ".set", names: Some(&[]), apply: |this, arguments| this.set(arguments) },
    Directive {
        name: ".buffer",
        names: Some(&["at"]),
        apply: |this, arguments| this.buffer(arguments),
    },
    Directive {
        name: ".const",
        names: Some(&[]),
        apply: |this, arguments| this.constant(arguments),
    },
    Directive { name: ".align", names: Some(&[]), apply: |this, arguments| this.align(arguments) },
    Directive {
        name: ".image",
        names: Some(&["at", "bytes", "sha256"]),
        apply: |this, arguments| this.section(arguments, Target::Image),
    },
    Directive {
        name: ".ir",
        names: Some(&["at", "bytes", "sha256"]),
        apply: |this, arguments| this.section(arguments, Target::Ir),
    },
    Directive {
        name: ".ir_constants",
        names: Some(&["at", "bytes", "sha256"]),
        apply: |this, arguments| this.section(arguments, Target::IrConstants),
    },
    Directive {
        name: ".host",
        names: Some(&["at", "bytes", "sha256"]),
        apply: |this, arguments| this.section(arguments, Target::Host),
    },
    Directive {
        name: ".host_constants",
        names: Some(&["at", "bytes", "sha256"]),
        apply: |this, arguments| this.section(arguments, Target::HostConstants),
    },
    Directive {
        name: ".schedule",
        names: Some(&["ahead"]),
        apply: |this, arguments| this.schedule(arguments),
    },
    Directive {
        name: ".live",
        names: Some(&["bytes", "first", "last"]),
        apply: |this, arguments| this.live(arguments),
    },
];

/// The definitions of the directives so far.
pub(super) struct Definitions<'s, 'f> {
    files: &'f Files<'f>,
    kind: Kind,
    pub(super) problems: Collector<Diagnostic>,
    pub(super) symbols: Symbols<'s>,
    pub(super) name: Option<String>,
    pub(super) dram_bytes: Option<u64>,
    pub(super) machine: Option<Machine>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) layers: Vec<Layer>,
    pub(super) decisions: Vec<Decision>,
    /// The layer of the next instruction.
    pub(super) current: Option<u32>,
    /// The group of the next instruction.
    pub(super) group: u32,
    /// The buffers of a task listing: bytes, address and position in the text.
    pub(super) buffers: Vec<(u32, Option<u32>, Range<usize>)>,
    pub(super) image: Section,
    pub(super) ir: Option<Section>,
    pub(super) ir_constants: Option<Section>,
    pub(super) host: Option<Section>,
    pub(super) host_constants: Option<Section>,
    /// Destination of data directives.
    target: Target,
    /// The schedule that a tiled program states.
    pub(super) attempt: Option<Attempt>,
    /// The buffers of a program, and their directives.
    pub(super) live: Vec<(Buffer, Range<usize>)>,
    /// The end of the highest buffer.
    sram_end: u64,
    /// Bytes that seeds may still generate.
    seeded: usize,
}

/// An input or output; its address may be undetermined.
pub(super) struct Tensor {
    pub(super) is_input: bool,
    pub(super) binding: Binding,
    pub(super) is_placed: bool,
    pub(super) span: Range<usize>,
}

impl<'s, 'f> Definitions<'s, 'f> {
    pub(super) fn new(files: &'f Files<'f>, kind: Kind) -> Self {
        Definitions {
            files,
            kind,
            problems: Collector::new(),
            symbols: Symbols::default(),
            name: None,
            dram_bytes: None,
            machine: None,
            tensors: Vec::new(),
            layers: Vec::new(),
            decisions: Vec::new(),
            current: None,
            group: 0,
            buffers: Vec::new(),
            image: Section::default(),
            ir: None,
            ir_constants: None,
            host: None,
            host_constants: None,
            target: Target::Image,
            attempt: None,
            live: Vec::new(),
            sram_end: 0,
            seeded: MAX_SEEDED_BYTES,
        }
    }

    /// Executes a line that is not an instruction; its mistakes are added to the problems.
    pub(super) fn apply(&mut self, line: Line<'s>) {
        let first = line.arguments.iter().find(|argument| argument.name.is_none());
        let name = first.and_then(|argument| string(&argument.value).ok());
        let problems = self.problems.len();
        if let Err(problem) = self.try_apply(line) {
            self.problems.push(|| problem);
        }
        if let Some(name) = name.filter(|_| self.problems.len() > problems) {
            self.symbols.poison(&name);
        }
    }

    fn try_apply(&mut self, line: Line<'s>) -> Done {
        let mut arguments = Arguments::new(line)?;
        let name = arguments.head.text;
        if let Some(directive) = DIRECTIVES.iter().find(|directive| directive.name == name) {
            let (head, problems) = (arguments.head.span.clone(), self.problems.len());
            if let Some(names) = directive.names {
                arguments.take_unknown(names, &mut self.problems);
            }
            let is_misspelt = self.problems.len() > problems;
            return match (directive.apply)(self, arguments) {
                // The misspelt argument is the missing one.
                Err(problem) if is_misspelt && problem.span.as_ref() == Some(&head) => Ok(()),
                done => done,
            };
        }
        let Some(kind) = data::kind(name) else {
            let names = DIRECTIVES.iter().map(|directive| directive.name).chain(data::names());
            return Err(Diagnostic::at(arguments.head.span, format!("no directive `{name}`"))
                .with_help(did_you_mean(name, names)));
        };
        arguments.take_unknown(&["count", "seed", "sha256"], &mut self.problems);
        self.target_section().data(&arguments.head)?;
        if let Some(seed) = arguments.named("seed") {
            let count = arguments.required("count")?;
            let made = kind.random(number(&seed)?, number(&count)?, &mut self.seeded);
            let made = made.map_err(|message| Diagnostic::at(count.span(), message))?;
            check_digest(arguments.named("sha256"), &made)?;
            self.target_section().data(&arguments.head)?.extend(made);
            return arguments.end();
        }
        let bytes = self.target_section().data(&arguments.head)?;
        for value in arguments.unnamed() {
            let value = word(&value, kind.expected, |text| Some((text, value.span())))?;
            if (kind.append)(value.0, bytes).is_none() {
                return Err(Diagnostic::at(value.1, format!("expected {}", kind.expected)));
            }
        }
        arguments.end()
    }

    fn head(&mut self, mut arguments: Arguments<'s>, kind: Kind) -> Done {
        if kind != self.kind {
            let message = format!("expected `{}`", self.kind.directive());
            let help = (self.kind == Kind::Program)
                .then(|| "`vitcod opt --to program` compiles this text to a program".to_owned());
            return Err(Diagnostic::at(arguments.head.span, message).with_help(help));
        }
        once(self.name.is_some(), &arguments.head)?;
        self.name = Some(string(&arguments.next("a name")?)?);
        self.dram_bytes = arguments.named("dram").map(|bytes| number(&bytes)).transpose()?;
        arguments.end()
    }

    fn machine(&mut self, arguments: Arguments<'s>) -> Done {
        once(self.machine.is_some(), &arguments.head)?;
        self.machine = Some(machine::read(arguments, &mut self.problems)?);
        Ok(())
    }

    fn tensor(&mut self, mut arguments: Arguments<'s>, is_input: bool) -> Done {
        let span = arguments.head.span.clone();
        let name = string(&arguments.next("a name")?)?;
        let kinds = [
            Element::I8,
            Element::I16,
            Element::Row { below: 0 },
            Element::Bits { rows: 0, inverted: false },
        ];
        let element =
            word(&arguments.next("an element type")?, "`i8`, `i16`, `row` or `bits`", |text| {
                kinds.into_iter().find(|element| element.to_string() == text)
            })?;
        let shape = arguments.next("a shape")?;
        let shape = items(&shape)?
            .iter()
            .map(|dim| number(&Value::Atom(dim.clone())))
            .collect::<Result<_, _>>()?;
        let finite = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let step = word(&arguments.required("step")?, "a finite number", finite)?;
        let mut of_channels = |name| {
            let numbers = arguments.named(name).map(|numbers| {
                let number = |number: &Atom<'_>| {
                    word(&Value::Atom(number.clone()), "a finite number", |text| {
                        text.parse().ok().filter(|number: &f32| number.is_finite())
                    })
                };
                items(&numbers)?.iter().map(number).collect::<Result<Vec<f32>, _>>()
            });
            numbers.transpose().map(Option::unwrap_or_default)
        };
        let (factors, offsets) = (of_channels("factors")?, of_channels("offsets")?);
        let mut count = |name| arguments.required(name).and_then(|value| number(&value));
        let element = match element {
            Element::I8 | Element::I16 => element,
            Element::Row { .. } => Element::Row { below: count("below")? },
            Element::Bits { .. } => {
                let rows = count("rows")?;
                let inverted = arguments
                    .named("inverted")
                    .map(|inverted| word(&inverted, "`true` or `false`", |text| text.parse().ok()));
                Element::Bits { rows, inverted: inverted.transpose()?.unwrap_or_default() }
            }
        };
        let layout = arguments.named("layout").map(|layout| {
            word(&layout, "`row_major` or `pixels`", |text| {
                Layout::ALL.into_iter().find(|layout| layout.name() == text)
            })
        });
        let layout = layout.transpose()?.unwrap_or_default();
        let address = arguments
            .named("at")
            .map(|at| word(&at, "an address as dram:0x40", Dram::parse))
            .transpose()?;
        let expected_sqnr_db = arguments
            .named("expected_sqnr_db")
            .map(|expected| word(&expected, "a finite number", finite))
            .transpose()?;
        let address = address.map(|address| address.0);
        let binding = Binding {
            name,
            shape,
            layout,
            element,
            step,
            factors,
            offsets,
            address: address.unwrap_or_default(),
            expected_sqnr_db,
        };
        self.tensors.push(Tensor { is_input, binding, is_placed: address.is_some(), span });
        arguments.end()
    }

    fn layer(&mut self, mut arguments: Arguments<'s>) -> Done {
        let name = string(&arguments.next("a name")?)?;
        let mut count = |name| arguments.named(name).map_or(Ok(0), |value| number(&value));
        let (needed_macs, compulsory_bytes) = (count("macs")?, count("bytes")?);
        let operation = arguments
            .named("operation")
            .map(|value| string(&value))
            .transpose()?
            .unwrap_or_default();
        let nodes =
            arguments.named("nodes").map(|value| strings(&value)).transpose()?.unwrap_or_default();
        self.current = u32::try_from(self.layers.len()).ok();
        self.layers.push(Layer { name, operation, nodes, needed_macs, compulsory_bytes });
        arguments.end()
    }

    fn in_layer(&mut self, mut arguments: Arguments<'s>) -> Done {
        self.current = Some(number(&arguments.next("the number of a layer")?)?);
        // A program has no groups.
        if self.kind != Kind::Program
            && let Some(group) = arguments.named("group")
        {
            self.group = number(&group)?;
        }
        arguments.end()
    }

    fn decision(&mut self, mut arguments: Arguments<'s>) -> Done {
        let mut text = |name| arguments.required(name).and_then(|value| string(&value));
        let decision =
            Decision::new(text("layer")?, text("subject")?, text("chosen")?, text("reason")?);
        self.decisions.push(decision);
        arguments.end()
    }

    fn alternative(&mut self, mut arguments: Arguments<'s>) -> Done {
        let value = arguments.next("a name")?;
        let name = string(&value)?;
        let mut count = |name| arguments.required(name).and_then(|value| number(&value));
        let alternative =
            Alternative { name, cycles: count("cycles")?, dram_bytes: count("bytes")? };
        let Some(decision) = self.decisions.last_mut() else {
            return Err(Diagnostic::at(
                value.span(),
                "an alternative follows the decision that it belongs to",
            ));
        };
        decision.alternatives.push(alternative);
        arguments.end()
    }

    fn set(&mut self, mut arguments: Arguments<'s>) -> Done {
        let name = arguments.next("a name")?;
        let value = word(&arguments.next("a value")?, "a value", Some)?;
        self.symbols.define(atom(&name, "a name")?, Symbol::Text(value))?;
        arguments.end()
    }

    fn buffer(&mut self, mut arguments: Arguments<'s>) -> Done {
        let name = arguments.next("a name")?;
        let bytes: u32 = number(&arguments.next("a number of bytes")?)?;
        let address = arguments
            .named("at")
            .map(|at| word(&at, "an address as sram:0x40", Sram::parse))
            .transpose()?;
        if self.kind != Kind::Program {
            self.unplaced(&arguments.head, atom(&name, "a name")?, bytes, address)?;
            return arguments.end();
        }
        let address =
            address.map_or(self.sram_end.next_multiple_of(PLACED_AT), |address| address.0.into());
        let bytes = u64::from(bytes);
        self.symbols.define(
            atom(&name, "a name")?,
            Symbol::Region { space: Space::Sram, address, bytes: Some(bytes) },
        )?;
        self.sram_end = self.sram_end.max(address + bytes);
        arguments.end()
    }

    /// Defines a buffer of a task listing.
    fn unplaced(
        &mut self,
        head: &Atom<'s>,
        name: &Atom<'s>,
        bytes: u32,
        address: Option<Sram>,
    ) -> Done {
        match (self.kind, address) {
            (Kind::Tiled, Some(_)) => {
                return Err(Diagnostic::at(
                    head.span.clone(),
                    "a buffer of a tiled program has no address",
                ));
            }
            (Kind::Scheduled, None) => {
                return Err(Diagnostic::at(head.span.clone(), "`.buffer` needs `at=` here"));
            }
            _ => {}
        }
        let number = u32::try_from(self.buffers.len())
            .map_err(|_| Diagnostic::at(head.span.clone(), "too many"))?;
        self.symbols.define(name, Symbol::Buffer { number, bytes })?;
        self.buffers.push((bytes, address.map(|address| address.0), name.span.clone()));
        Ok(())
    }

    fn constant(&mut self, mut arguments: Arguments<'s>) -> Done {
        let name = arguments.next("a name")?;
        let symbol = Symbol::Region { space: Space::Dram, address: self.image.len(), bytes: None };
        self.symbols.define(atom(&name, "a name")?, symbol)?;
        arguments.end()
    }

    fn align(&mut self, mut arguments: Arguments<'s>) -> Done {
        let align = word(&arguments.next("an alignment")?, "a power of two up to 64", |text| {
            integer(text).filter(|align: &usize| align.is_power_of_two() && *align <= 64)
        })?;
        let image = self.image.data(&arguments.head)?;
        image.resize(image.len().next_multiple_of(align), 0);
        arguments.end()
    }

    /// The section that data is appended to.
    fn target_section(&mut self) -> &mut Section {
        match self.target {
            Target::Image => &mut self.image,
            Target::Ir => self.ir.get_or_insert_default(),
            Target::IrConstants => self.ir_constants.get_or_insert_default(),
            Target::Host => self.host.get_or_insert_default(),
            Target::HostConstants => self.host_constants.get_or_insert_default(),
        }
    }

    /// Records the schedule of a tiled program.
    fn schedule(&mut self, mut arguments: Arguments<'s>) -> Done {
        if self.kind != Kind::Tiled {
            let message = "only a tiled program is yet to be scheduled";
            return Err(Diagnostic::at(arguments.head.span, message));
        }
        once(self.attempt.is_some(), &arguments.head)?;
        let order = word(&arguments.next("an order")?, "`prefetched` or `listed`", |text| {
            Order::ALL.into_iter().find(|order| order.name() == text)
        })?;
        let ahead = word(&arguments.required("ahead")?, "a percentage", |text| {
            integer(text).filter(|percent: &u64| *percent <= 100)
        })?;
        self.attempt = Some(Attempt { order, ahead });
        arguments.end()
    }

    /// Defines a buffer of a program: a part of the scratchpad and its live range.
    fn live(&mut self, mut arguments: Arguments<'s>) -> Done {
        if self.kind != Kind::Program {
            let message = "expected `.buffer`: the instructions of a `.tiled` or `.scheduled` \
                               text determine live ranges";
            return Err(Diagnostic::at(arguments.head.span, message));
        }
        let Sram(address) = word(
            &arguments.next("an address as sram:0x40")?,
            "an address as sram:0x40",
            Sram::parse,
        )?;
        let mut count = |name| arguments.required(name).and_then(|value| number(&value));
        let (bytes, first, last) = (count("bytes")?, count("first")?, count("last")?);
        let span = arguments.head.span.clone();
        self.live.push((Buffer { address, bytes, first, last }, span));
        arguments.end()
    }

    /// Selects the section for the data that follows; with a file, its bytes are the whole section.
    fn section(&mut self, mut arguments: Arguments<'s>, target: Target) -> Done {
        if matches!(target, Target::Host | Target::HostConstants) && self.kind != Kind::Program {
            let message = "only a program has parts for the host";
            return Err(Diagnostic::at(arguments.head.span, message));
        }
        self.target = target;
        let files = self.files;
        let section = self.target_section();
        section.read(&mut arguments, target, files)?;
        arguments.end()
    }
}

fn once(done: bool, head: &Atom<'_>) -> Done {
    if done {
        Err(Diagnostic::at(head.span.clone(), format!("a second `{}`", head.text)))
    } else {
        Ok(())
    }
}
