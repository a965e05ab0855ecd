//! Which bits of an address select channel, bank group, bank, row and column.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Ddr4;

/// The fields of an address from the most significant to the least, each once, with colons between
/// them: `row:bank:column:group:channel`. Below them are the bits within a burst. As all counts are
/// powers of two, a field is a range of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mapping([Field; 5]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Row,
    Bank,
    Group,
    Column,
    Channel,
}

/// What a mapping is, for messages.
pub(crate) const EXPECTED: &str =
    "row, bank, group, column and channel in any order, with : between them";

impl Field {
    const ALL: [(Field, &'static str); 5] = [
        (Field::Row, "row"),
        (Field::Bank, "bank"),
        (Field::Group, "group"),
        (Field::Column, "column"),
        (Field::Channel, "channel"),
    ];

    fn name(self) -> &'static str {
        Field::ALL.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }
}

/// Where a burst lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The channel.
    pub channel: u64,
    /// The bank group in the channel.
    pub group: u64,
    /// The bank in the group.
    pub bank: u64,
    /// The row in the bank.
    pub row: u64,
    /// The burst in the row.
    pub column: u64,
}

impl Mapping {
    /// Where the burst at an address lies.
    ///
    /// ```
    /// use vitcod_isa::dram::{Ddr4, Place};
    ///
    /// let ddr4 = Ddr4::ddr4_2400();
    /// let place = ddr4.mapping.place(&ddr4, 64 * (2 + 4 * (3 + 4 * 5)));
    /// assert_eq!(place, Place { channel: 2, group: 3, column: 5, ..Place::default() });
    /// ```
    pub fn place(&self, ddr4: &Ddr4, address: u64) -> Place {
        let mut rest = address / u64::from(ddr4.burst_bytes());
        let mut place = Place::default();
        for field in self.0.iter().rev() {
            let (part, count) = match field {
                Field::Row => (&mut place.row, ddr4.rows),
                Field::Bank => (&mut place.bank, ddr4.banks),
                Field::Group => (&mut place.group, ddr4.groups),
                Field::Column => (&mut place.column, ddr4.row_bytes / ddr4.burst_bytes()),
                Field::Channel => (&mut place.channel, ddr4.channels),
            };
            let bits = count.trailing_zeros();
            *part = rest & ((1 << bits) - 1);
            rest >>= bits;
        }
        // What lies beyond the memory has rows of its own, so no two addresses are confused.
        place.row |= rest << ddr4.rows.trailing_zeros();
        place
    }

    /// Whether the row is the most significant field, so that all banks hold one row before the
    /// next row begins.
    pub(crate) fn rows_are_outermost(&self) -> bool {
        self.0[0] == Field::Row
    }
}

impl Default for Mapping {
    fn default() -> Mapping {
        Mapping([Field::Row, Field::Bank, Field::Column, Field::Group, Field::Channel])
    }
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Mapping, String> {
        let mut fields = [Field::Row; 5];
        let mut parts = text.split(':');
        for (index, of) in fields.iter_mut().enumerate() {
            let part = parts.next().ok_or(EXPECTED)?;
            let (field, name) =
                Field::ALL.iter().find(|(_, name)| *name == part).ok_or(EXPECTED)?;
            if text.split(':').take(index).any(|earlier| earlier == *name) {
                return Err(EXPECTED.to_owned());
            }
            *of = *field;
        }
        if parts.next().is_some() { Err(EXPECTED.to_owned()) } else { Ok(Mapping(fields)) }
    }
}

impl TryFrom<String> for Mapping {
    type Error = String;

    fn try_from(text: String) -> Result<Mapping, String> {
        text.parse()
    }
}

impl From<Mapping> for String {
    fn from(mapping: Mapping) -> String {
        mapping.to_string()
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(Field::name).join(":"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_mapping_names_every_field_once() {
        for text in ["row:bank:column:group:channel", "channel:row:group:bank:column"] {
            assert_eq!(text.parse::<Mapping>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "row",
            "row:bank:column:group",
            "row:bank:column:group:row",
            "row:bank:column:group:channel:row",
            "row:bank:column:group:Channel",
            "row:bank:column:group: channel",
        ] {
            assert!(text.parse::<Mapping>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_fill_the_fields_from_the_last_to_the_first() {
        let mut ddr4 = Ddr4::ddr4_2400();
        ddr4.mapping = "channel:row:bank:column:group".parse().unwrap();
        // 4 groups, 128 columns, 4 banks, 65,536 rows.
        let place = |address| ddr4.mapping.place(&ddr4, address);
        let burst = |n: u64| 64 * n;
        assert_eq!(place(63), Place::default());
        assert_eq!(place(burst(5)), Place { group: 1, column: 1, ..Place::default() });
        assert_eq!(place(burst(4 * 128 * 3)), Place { bank: 3, ..Place::default() });
        assert_eq!(place(burst(4 * 128 * 4 * 9)), Place { row: 9, ..Place::default() });
        assert_eq!(place(1 << 33), Place { channel: 1, ..Place::default() });
        assert_eq!(place(1 << 35), Place { row: 65_536, ..Place::default() });
    }

    #[test]
    fn no_two_bursts_share_a_place() {
        let mut ddr4 = Ddr4::ddr4_2400();
        (ddr4.rows, ddr4.row_bytes, ddr4.channels) = (2, 128, 2);
        for mapping in ["row:bank:column:group:channel", "column:channel:row:bank:group"] {
            ddr4.mapping = mapping.parse().unwrap();
            let places: BTreeSet<_> = (0..1000)
                .map(|n| {
                    let p = ddr4.mapping.place(&ddr4, n * 64);
                    assert!(p.channel < 2 && p.group < 4 && p.bank < 4 && p.column < 2);
                    (p.channel, p.group, p.bank, p.row, p.column)
                })
                .collect();
            assert_eq!(places.len(), 1000);
        }
    }
}
