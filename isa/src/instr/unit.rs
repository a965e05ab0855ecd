//! The units of the machine and sets of them.

use std::fmt;

/// Defines the units: variant, name, what it does.
macro_rules! units {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// A unit: executes its instructions in program order, concurrently with the other units.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Unit { $($(#[doc = $doc])+ $variant),+ }

        impl Unit {
            /// Every unit, by number.
            pub const ALL: [Unit; [$($name),+].len()] = [$(Unit::$variant),+];

            /// Name in assembly and reports.
            pub const fn name(self) -> &'static str {
                match self { $(Unit::$variant => $name),+ }
            }

            /// What it does, as the manual says it.
            pub const fn doc(self) -> &'static str {
                match self { $(Unit::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

units! {
    /// DMA from DRAM into the scratchpad.
    Load = "load",
    /// DMA from the scratchpad into DRAM.
    Store = "store",
    /// The engine for dense blocks.
    Denser = "denser",
    /// The engine for scattered non-zeros.
    Sparser = "sparser",
    /// The auto-encoder's encoder.
    Encoder = "encoder",
    /// The auto-encoder's decoder.
    Decoder = "decoder",
    /// The softmax unit of the denser engine.
    DenserSoftmax = "denser_softmax",
    /// The softmax unit of the sparser engine.
    SparserSoftmax = "sparser_softmax",
    /// LayerNorm, rescaled add, LUT and interpolation.
    Vector = "vector",
}

impl Unit {
    /// Number of units.
    pub const COUNT: usize = Unit::ALL.len();

    /// Position in [`Unit::ALL`] and bit in a [`UnitSet`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of units, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnitSet(u16);

impl UnitSet {
    /// No unit.
    pub const EMPTY: UnitSet = UnitSet(0);

    /// Every unit.
    pub const ALL: UnitSet = UnitSet((1 << Unit::COUNT) - 1);

    /// The set with these bits, if each bit stands for a unit.
    pub const fn from_bits(bits: u16) -> Option<UnitSet> {
        if bits >> Unit::COUNT == 0 { Some(UnitSet(bits)) } else { None }
    }

    /// One bit per unit, at [`Unit::index`].
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Adds a unit.
    pub const fn insert(&mut self, unit: Unit) {
        self.0 |= 1 << unit.index();
    }

    /// Removes a unit.
    pub const fn remove(&mut self, unit: Unit) {
        self.0 &= !(1 << unit.index());
    }

    /// Whether the unit is in the set.
    pub const fn contains(self, unit: Unit) -> bool {
        self.0 >> unit.index() & 1 != 0
    }

    /// Whether no unit is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The units of the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Unit> {
        Unit::ALL.into_iter().filter(move |unit| self.contains(*unit))
    }
}

impl FromIterator<Unit> for UnitSet {
    fn from_iter<I: IntoIterator<Item = Unit>>(units: I) -> Self {
        let mut set = UnitSet::EMPTY;
        units.into_iter().for_each(|unit| set.insert(unit));
        set
    }
}

impl fmt::Display for UnitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, unit) in self.iter().enumerate() {
            if i > 0 {
                f.write_str("|")?;
            }
            f.write_str(unit.name())?;
        }
        Ok(())
    }
}
