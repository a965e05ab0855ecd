//! A picture with a palette, and text.

use std::convert::Infallible;
use std::io::{self, Write};

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_7X13_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::PixelColor;
use embedded_graphics::pixelcolor::raw::RawU8;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

/// A colour, by its index in the palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink(pub(super) u8);

impl PixelColor for Ink {
    type Raw = RawU8;
}

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

pub(super) const PAPER: Ink = Ink(0);
pub(super) const TEXT: Ink = Ink(1);
pub(super) const GRID: Ink = Ink(2);
pub(super) const FAINT: Ink = Ink(3);
const BASE: [Colour; 4] =
    [[0xff, 0xff, 0xff], [0x22, 0x22, 0x2a], [0xb4, 0xb4, 0xbc], [0xec, 0xec, 0xf0]];

/// Width of a character in pixels.
pub(super) const CHARACTER: u32 = 6;
/// Height of a line of text in pixels.
pub(super) const LINE: u32 = 12;

/// Mixes a colour with white: `parts` of 8 are the colour.
pub(super) fn tint(colour: Colour, parts: u16) -> Colour {
    colour.map(|part| (255 - (255 - u16::from(part)) * parts / 8) as u8)
}

/// Mixes a colour with black: `parts` of 8 are the colour.
pub(super) fn shade(colour: Colour, parts: u16) -> Colour {
    colour.map(|part| (u16::from(part) * parts / 8) as u8)
}

/// Horizontal alignment of text.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Left,
    Centre,
    Right,
}

pub(super) struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    palette: Vec<Colour>,
}

impl Canvas {
    /// An empty picture.
    pub(super) fn new(width: u32, height: u32) -> Canvas {
        Canvas {
            width,
            height,
            pixels: vec![PAPER.0; (width * height) as usize],
            palette: BASE.to_vec(),
        }
    }

    /// Adds a colour; there are at most 256.
    pub(super) fn ink(&mut self, colour: Colour) -> Ink {
        let ink = Ink(self.palette.len().try_into().expect("pictures have few colours"));
        self.palette.push(colour);
        ink
    }

    /// Fills a rectangle, clipped to the picture.
    pub(super) fn fill(&mut self, (x, y): (u32, u32), (width, height): (u32, u32), ink: Ink) {
        let (right, bottom) = ((x + width).min(self.width), (y + height).min(self.height));
        for row in y..bottom {
            let row = (row * self.width) as usize;
            if x < right {
                self.pixels[row + x as usize..row + right as usize].fill(ink.0);
            }
        }
    }

    /// Sets a pixel of the picture.
    pub(super) fn dot(&mut self, x: u32, y: u32, ink: Ink) {
        self.fill((x, y), (1, 1), ink);
    }

    /// Writes a line of text whose top is at `y`.
    pub(super) fn text(&mut self, at: (u32, u32), anchor: Anchor, text: &str) {
        self.write(&FONT_6X10, TEXT, at, anchor, text);
    }

    /// Writes a line of text on a coloured background.
    pub(super) fn text_on(&mut self, ground: Ink, at: (u32, u32), text: &str) {
        // The weights of red, green and blue in perceived brightness, in tenths.
        let [red, green, blue] = self.palette[usize::from(ground.0)].map(u32::from);
        let ink = if 3 * red + 6 * green + blue < 1400 { PAPER } else { TEXT };
        self.write(&FONT_6X10, ink, at, Anchor::Centre, text);
    }

    /// Writes a line of larger text.
    pub(super) fn title(&mut self, at: (u32, u32), text: &str) {
        self.write(&FONT_7X13_BOLD, TEXT, at, Anchor::Left, text);
    }

    fn write(
        &mut self,
        font: &MonoFont<'_>,
        ink: Ink,
        (x, y): (u32, u32),
        anchor: Anchor,
        text: &str,
    ) {
        let alignment = match anchor {
            Anchor::Left => Alignment::Left,
            Anchor::Centre => Alignment::Center,
            Anchor::Right => Alignment::Right,
        };
        let style = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Top).build();
        // Characters that are not in the font are replaced by question marks.
        let known = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let text: String = text.chars().map(known).collect();
        let at = Point::new(x as i32, y as i32);
        let text = Text::with_text_style(&text, at, MonoTextStyle::new(font, ink), style);
        match embedded_graphics::Drawable::draw(&text, self) {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }

    /// Writes the picture as PNG.
    pub(super) fn write_png(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut encoder = png::Encoder::new(out, self.width, self.height);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(self.palette.as_flattened());
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header().map_err(io::Error::from)?;
        writer.write_image_data(&self.pixels).map_err(io::Error::from)?;
        writer.finish().map_err(io::Error::from)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Ink;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Ink>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, ink) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) {
                self.dot(x, y, ink);
            }
        }
        Ok(())
    }
}
