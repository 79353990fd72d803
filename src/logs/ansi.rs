//! Lines of a log as a browser may show them: runs of text with a style, and nothing else.
//!
//! Colours and weights are understood (SGR); every other command to a terminal vanishes, and every character that would
//! change what surrounds it is named instead. What comes out is text, never markup: whoever shows it escapes it.

use anstyle_parse::{Params, Parser, Perform, Utf8Parser};

use super::line_prefix::prefix_of;

/// Characters of one line that are shown; the log itself has all of them.
const MAX_SHOWN: usize = 4000;

/// Bytes of one line that are looked at. No writer of ours makes longer ones.
const MAX_READ: usize = 128 * 1024;

/// Runs of one line: a program that changes colour with every letter loses its colours after so many.
const MAX_SPANS: usize = 500;

/// A line as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownLine {
    /// The step that it belongs to, where the builder says so.
    pub step: Option<u32>,
    pub spans: Vec<Span>,
    /// Characters that are not shown, at its end; bytes where it was too long to be looked at.
    pub cut: usize,
}

/// A run of text in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub text: String,
    pub style: Style,
}

/// How a run looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    pub role: Role,
    /// One of the sixteen colours of terminals.
    pub foreground: Option<u8>,
    pub background: Option<u8>,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// The build.
    #[default]
    Output,
    /// The builder, which says to which step a line belongs.
    Prefix,
    /// We, in place of a character that cannot be shown.
    Placeholder,
}

impl Style {
    const PREFIX: Self = Self::of(Role::Prefix);
    const PLACEHOLDER: Self = Self::of(Role::Placeholder);

    const fn of(role: Role) -> Self {
        Self {
            role,
            foreground: None,
            background: None,
            bold: false,
            dim: false,
            italic: false,
            underline: false,
        }
    }

    /// The names of the style's classes, separated by spaces. A background brings its own colour of text, so that no
    /// choice of a program makes its words unreadable.
    pub fn classes(self) -> String {
        let mut classes = Vec::new();
        match self.role {
            Role::Output => {}
            Role::Prefix => classes.push("p".to_owned()),
            Role::Placeholder => classes.push("x".to_owned()),
        }
        match (self.foreground, self.background) {
            (_, Some(background)) => classes.push(format!("k{background}")),
            (Some(foreground), None) => classes.push(format!("c{foreground}")),
            (None, None) => {}
        }
        for (is_set, class) in [
            (self.bold, "b"),
            (self.dim, "d"),
            (self.italic, "i"),
            (self.underline, "u"),
        ] {
            if is_set {
                classes.push(class.to_owned());
            }
        }
        classes.join(" ")
    }
}

/// A line, without its end, as it is shown. What a program wrote over with `\r` is not.
pub fn shown(line: &[u8]) -> ShownLine {
    let found = prefix_of(line);
    let prefix = found.map_or(0, |prefix| prefix.length);
    let mut screen = Screen::default();
    read(&line[prefix..], &mut screen);
    let mut spans = screen.spans;
    if prefix > 0 {
        let text = String::from_utf8_lossy(&line[..prefix]).into_owned();
        spans.insert(
            0,
            Span {
                text,
                style: Style::PREFIX,
            },
        );
    }
    ShownLine {
        step: found.map(|prefix| prefix.step),
        spans,
        cut: screen.hidden + line.len().saturating_sub(prefix + MAX_READ),
    }
}

/// The text of a line as it is shown, however long it is.
pub fn plain(line: &[u8]) -> String {
    let prefix = prefix_of(line).map_or(0, |prefix| prefix.length);
    let mut plain = Plain::default();
    read(&line[prefix..], &mut plain);
    plain.text.insert_str(0, &String::from_utf8_lossy(&line[..prefix]));
    plain.text
}

/// Whether [`plain`] of a line is the line itself.
pub fn is_plain(line: &[u8]) -> bool {
    !line
        .iter()
        .any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7F)
}

/// Hands the text and the commands of a line to `performer`.
fn read(bytes: &[u8], performer: &mut impl Perform) {
    let mut parser = Parser::<Utf8Parser>::default();
    // Text first: the parser would take the byte after a broken character for a part of it.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_READ)]);
    for byte in text.bytes() {
        parser.advance(performer, byte);
    }
}

/// The text that a terminal's line would hold.
#[derive(Default)]
struct Plain {
    text: String,
    /// What is printed next begins the line afresh.
    rewrites: bool,
}

impl Perform for Plain {
    fn print(&mut self, c: char) {
        if std::mem::take(&mut self.rewrites) {
            self.text.clear();
        }
        match placeholder(c) {
            Some(name) => self.text.push_str(&name),
            None => self.text.push(c),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.rewrites = true,
            b'\t' => self.text.push('\t'),
            _ => self.print(char::from(byte)),
        }
    }
}

/// What a terminal's line would hold.
#[derive(Default)]
struct Screen {
    spans: Vec<Span>,
    style: Style,
    /// Characters in `spans`.
    length: usize,
    /// Characters beyond the limit.
    hidden: usize,
    /// What is printed next begins the line afresh.
    rewrites: bool,
}

impl Screen {
    fn write(&mut self, text: &str, style: Style) {
        if std::mem::take(&mut self.rewrites) {
            self.spans.clear();
            self.length = 0;
            self.hidden = 0;
        }
        let count = text.chars().count();
        if self.length + count > MAX_SHOWN {
            self.hidden += count;
            return;
        }
        self.length += count;
        let is_full = self.spans.len() >= MAX_SPANS;
        match self.spans.last_mut() {
            Some(last) if last.style == style || is_full => last.text.push_str(text),
            _ => self.spans.push(Span {
                text: text.to_owned(),
                style,
            }),
        }
    }

    /// Select Graphic Rendition, as far as it is understood (ECMA-48, 8.3.117; colours as xterm has them).
    fn select(&mut self, params: &Params) {
        let groups: Vec<&[u16]> = params.iter().collect();
        let mut at = 0;
        while let Some(&group) = groups.get(at) {
            at += 1;
            let style = &mut self.style;
            match group[0] {
                0 => *style = Style::default(),
                1 => style.bold = true,
                2 => style.dim = true,
                3 => style.italic = true,
                4 => style.underline = group.get(1) != Some(&0),
                22 => (style.bold, style.dim) = (false, false),
                23 => style.italic = false,
                24 => style.underline = false,
                code @ 30..=37 => style.foreground = Some((code - 30) as u8),
                39 => style.foreground = None,
                code @ 40..=47 => style.background = Some((code - 40) as u8),
                49 => style.background = None,
                code @ 90..=97 => style.foreground = Some((code - 82) as u8),
                code @ 100..=107 => style.background = Some((code - 92) as u8),
                code @ (38 | 48) => {
                    // `38:2:...` carries its values itself, `38;2;...` is followed by them.
                    let values: Vec<u16> = match group.len() {
                        1 => groups[at..].iter().take(4).map(|value| value[0]).collect(),
                        _ => group[1..].to_vec(),
                    };
                    let (colour, used) = extended_colour(&values);
                    if group.len() == 1 {
                        at += used;
                    }
                    match code {
                        38 => style.foreground = colour.or(style.foreground),
                        _ => style.background = colour.or(style.background),
                    }
                }
                _ => {}
            }
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, c: char) {
        match placeholder(c) {
            Some(name) => self.write(&name, Style::PLACEHOLDER),
            None => {
                let style = self.style;
                self.write(c.encode_utf8(&mut [0; 4]), style);
            }
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.rewrites = true,
            b'\t' => {
                let style = self.style;
                self.write("\t", style);
            }
            _ => self.print(char::from(byte)),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action == b'm' && intermediates.is_empty() && !ignore {
            self.select(params);
        }
    }
}

/// What stands for a character that is not seen or changes how its neighbours are read.
fn placeholder(c: char) -> Option<String> {
    match c {
        '\0'..='\u{1F}' => char::from_u32(0x2400 + u32::from(c)).map(String::from),
        '\u{7F}' => Some('\u{2421}'.to_string()),
        // C1 controls; marks, embeddings, overrides and isolates of the bidirectional algorithm; ends of lines and of
        // paragraphs; what has no width; tags.
        '\u{80}'..='\u{9F}'
        | '\u{61C}'
        | '\u{200B}'
        | '\u{200E}'
        | '\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}' => Some(format!("<U+{:04X}>", u32::from(c))),
        _ => None,
    }
}

/// One of the sixteen colours, and how many of the values it took.
fn extended_colour(values: &[u16]) -> (Option<u8>, usize) {
    match *values {
        [5, index, ..] => (u8::try_from(index).ok().map(of_palette), 2),
        [2, red, green, blue] => (Some(nearest([red, green, blue])), 4),
        // `38:2::r:g:b`, with the colour space that nobody names.
        [2, _, red, green, blue, ..] => (Some(nearest([red, green, blue])), 6),
        _ => (None, values.len().min(1)),
    }
}

/// The nearest of the sixteen colours to one of xterm's 256.
fn of_palette(index: u8) -> u8 {
    match index {
        0..16 => index,
        16..232 => {
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * u16::from(step) };
            let cube = index - 16;
            nearest([level(cube / 36), level(cube / 6 % 6), level(cube % 6)])
        }
        232.. => nearest([8 + 10 * u16::from(index - 232); 3]),
    }
}

/// The nearest of the sixteen colours, as xterm has them.
fn nearest(colour: [u16; 3]) -> u8 {
    const COLOURS: [[i32; 3]; 16] = [
        [0, 0, 0],
        [205, 0, 0],
        [0, 205, 0],
        [205, 205, 0],
        [0, 0, 238],
        [205, 0, 205],
        [0, 205, 205],
        [229, 229, 229],
        [127, 127, 127],
        [255, 0, 0],
        [0, 255, 0],
        [255, 255, 0],
        [92, 92, 255],
        [255, 0, 255],
        [0, 255, 255],
        [255, 255, 255],
    ];
    let distance = |other: &[i32; 3]| -> i32 {
        let parts = other.iter().zip(colour);
        parts.map(|(a, b)| (a - i32::from(b.min(255))).pow(2)).sum()
    };
    (0..16)
        .min_by_key(|&index: &u8| distance(&COLOURS[usize::from(index)]))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each run as `classes|text`.
    fn runs(line: &[u8]) -> Vec<String> {
        let spans = shown(line).spans;
        spans
            .iter()
            .map(|span| format!("{}|{}", span.style.classes(), span.text))
            .collect()
    }

    #[track_caller]
    fn check(line: &[u8], expected: &[&str]) {
        assert_eq!(runs(line), expected, "{:?}", String::from_utf8_lossy(line));
    }

    #[test]
    fn colours_and_weights_become_classes() {
        check(b"", &[]);
        check(b"plain", &["|plain"]);
        check(b"\x1b[31mred\x1b[0m plain", &["c1|red", "| plain"]);
        check(b"\x1b[1;32mok\x1b[22m still", &["c2 b|ok", "c2| still"]);
        check(b"\x1b[mx\x1b[4mu\x1b[24;3mi", &["|x", "u|u", "i|i"]);
        check(b"\x1b[91mbright\x1b[39m no", &["c9|bright", "| no"]);
        check(b"\x1b[31;44mboth\x1b[49mred", &["k4|both", "c1|red"]);
        check(b"\x1b[103ma\x1b[2mb", &["k11|a", "k11 d|b"]);
    }

    #[test]
    fn colours_beyond_sixteen_become_the_nearest() {
        check(b"\x1b[38;5;9mx", &["c9|x"]);
        check(b"\x1b[38;5;196mx", &["c9|x"]);
        check(b"\x1b[38;5;255mx", &["c7|x"]);
        check(b"\x1b[38;2;0;200;10mx", &["c2|x"]);
        check(b"\x1b[38:2::0:200:10mx", &["c2|x"]);
        check(b"\x1b[48;2;255;255;255;1mx", &["k15 b|x"]);
        check(b"\x1b[38;5;300mx\x1b[38mx\x1b[38;9;1mx", &["|xx", "b|x"]);
        check(b"\x1b[38;2;65535;0;0mx", &["c9|x"]);
    }

    #[test]
    fn a_style_ends_with_its_line() {
        check(b"\x1b[31mred", &["c1|red"]);
        check(b"next", &["|next"]);
    }

    #[test]
    fn the_last_state_of_a_rewritten_line_is_shown() {
        check(b"10%\r50%\r100%", &["|100%"]);
        check(b"100%\r", &["|100%"]);
        check(b"10%\r\x1b[2K\x1b[32mdone", &["c2|done"]);
        check(b"#5 0.123 10%\r20%", &["p|#5 0.123 ", "|20%"]);
    }

    #[test]
    fn what_the_builder_says_of_a_line_stands_apart() {
        check(b"#12 [2/3] RUN make", &["p|#12 ", "|[2/3] RUN make"]);
        check(b"#12 0.5 \x1b[31mno", &["p|#12 ", "|0.5 ", "c1|no"]);
        check(b"#x", &["|#x"]);
    }

    #[test]
    fn markup_stays_text() {
        check(b"<script>alert(1)</script>&amp;", &["|<script>alert(1)</script>&amp;"]);
    }

    #[test]
    fn commands_to_a_terminal_vanish() {
        check(b"\x1b]8;;https://evil.example/\x1b\\click\x1b]8;;\x1b\\", &["|click"]);
        check(b"\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07", &["|click"]);
        check(b"a\x1b]52;c;ZXZpbA==\x07b", &["|ab"]);
        check(b"a\x1b]0;title\x07b\x1b[2J\x1b[1;1H\x1b[3A\x1b[?25lc", &["|abc"]);
        check(b"a\x1bPq#0;2\x1b\\b\x1bcc\x1b(0d", &["|abcd"]);
        check(b"a\x1b]never ended", &["|a"]);
        check(b"a\x1b[31", &["|a"]);
    }

    #[test]
    fn characters_that_deceive_are_named() {
        check(
            b"a\0b\x08c\x7fd",
            &["|a", "x|\u{2400}", "|b", "x|\u{2408}", "|c", "x|\u{2421}", "|d"],
        );
        check("a\u{202E}cba".as_bytes(), &["|a", "x|<U+202E>", "|cba"]);
        check("\u{2066}x\u{2069}".as_bytes(), &["x|<U+2066>", "|x", "x|<U+2069>"]);
        check("a\u{9B}31mb".as_bytes(), &["|a", "x|<U+009B>", "|31mb"]);
        check(
            "a\u{2028}b\u{FEFF}".as_bytes(),
            &["|a", "x|<U+2028>", "|b", "x|<U+FEFF>"],
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(b"a\xFFb", &["|a\u{FFFD}b"]);
        check("tabs\tä😀".as_bytes(), &["|tabs\tä😀"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_says_so() {
        let line = shown(&vec![b'x'; 10 << 20]);
        assert_eq!(line.spans.len(), 1);
        assert_eq!(line.spans[0].text.len(), MAX_SHOWN);
        assert_eq!(line.cut, (10 << 20) - MAX_SHOWN);
        let rewritten = shown(&[&[b'x'; 9000][..], b"\rshort"].concat());
        assert_eq!((rewritten.spans[0].text.as_str(), rewritten.cut), ("short", 0));
    }

    #[test]
    fn a_line_of_a_thousand_colours_is_bounded() {
        let line: Vec<u8> = (0..3000)
            .flat_map(|n| format!("\x1b[{}mx", 31 + n % 2).into_bytes())
            .collect();
        let spans = shown(&line).spans;
        assert_eq!(spans.len(), MAX_SPANS);
        assert_eq!(spans.iter().map(|span| span.text.len()).sum::<usize>(), 3000);
    }

    #[test]
    fn the_plain_text_is_what_is_shown() {
        assert_eq!(plain(b"#5 0.123 \x1b[31mer\x1b[1mror\x1b[0m: x"), "#5 0.123 error: x");
        assert_eq!(plain(b"10%\r100%"), "100%");
        assert_eq!(plain(&vec![b'x'; 20_000]).len(), 20_000);
        assert!(is_plain("a\tä".as_bytes()) && !is_plain(b"\x1b[m") && !is_plain(b"a\rb"));
    }
}
