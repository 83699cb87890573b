//! What readers can see of a text.

/// Whether a reader sees anything of a text. Spaces, controls and characters without a width show
/// nothing.
pub fn shows_something(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !c.is_control() && !has_no_width(c) && !is_filler(c))
}

/// Characters that change the direction of what follows, even beyond their text
/// (<https://www.unicode.org/reports/tr9/>).
pub fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters without a width, and those that only join or change their neighbours.
fn has_no_width(c: char) -> bool {
    is_bidi_control(c) || is_joiner(c) || is_variation(c) || is_tag(c) || is_invisible(c)
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn is_variation(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180f}')
}

/// The characters that spell the flag of a region after a black flag.
fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

/// The rest of Unicode's `Default_Ignorable_Code_Point`, also what is not assigned yet, and the
/// controls of annotations and of hieroglyphs.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{17b4}' | '\u{17b5}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e001f}' | '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}'
    )
}

/// Characters that have a width and show nothing.
fn is_filler(c: char) -> bool {
    matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{1d159}')
}

/// A text as one line that shows what it is: without characters that change its direction or have
/// no width. Joiners and variation selectors stay where they shape what is before them, as in an
/// emoji or a Persian word; between Latin letters they only make one word look like another.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let shapes = |c: char| !c.is_ascii() && !c.is_whitespace() && !has_no_width(c);
    while let Some(c) = characters.next() {
        let before = line.chars().last();
        let stays = match c {
            c if is_bidi_control(c) || is_invisible(c) => false,
            c if is_joiner(c) => {
                let joins = |c: char| shapes(c) || is_variation(c) || is_tag(c);
                before.is_some_and(joins) && characters.peek().is_some_and(|c| shapes(*c))
            }
            // A variation selector turns a digit into a keycap.
            c if is_variation(c) => {
                before.is_some_and(|c| shapes(c) || c.is_ascii_digit() || c == '#' || c == '*')
            }
            c if is_tag(c) => before.is_some_and(|c| c == '\u{1f3f4}' || is_tag(c)),
            _ => true,
        };
        let ends_line = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        match (stays, ends_line) {
            (_, true) => line.push(' '),
            (true, false) => line.push(c),
            (false, false) => {}
        }
    }
    line
}

/// A text whose direction controls have no effect on what is around it. Each line becomes an
/// isolate, which closes what it opens, and nothing that it didn't open. A text without such
/// controls is left as it is.
pub fn isolated(text: &str) -> String {
    if !text.chars().any(is_bidi_control) {
        return text.to_owned();
    }
    let line = |line: &str| {
        let mut isolated = String::from('\u{2068}');
        let mut open = 0_usize;
        for c in line.chars() {
            match c {
                '\u{2066}'..='\u{2068}' => open += 1,
                '\u{2069}' if open == 0 => continue,
                '\u{2069}' => open -= 1,
                _ => {}
            }
            isolated.push(c);
        }
        isolated.extend(std::iter::repeat_n('\u{2069}', open + 1));
        isolated
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A text without NUL, the one character that PostgreSQL can't keep.
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_shows_nothing_is_known_as_one() {
        for nothing in [
            "",
            " ",
            "\u{200b}",
            "\u{2800}\u{3164}",
            "\u{202e}\u{2069}",
            "\u{200d}\u{fe0f}",
            "\u{a0}\u{ad}\u{feff}\n",
            "\u{fff5}\u{13430}\u{1d159}",
            "\u{e0000}\u{e0080}\u{e01f5}\u{e0fff}",
        ] {
            assert!(!shows_something(nothing), "{nothing:?}");
        }
        for something in ["a", "\u{200b}a", "é", "👩\u{200d}💻", "."] {
            assert!(shows_something(something), "{something:?}");
        }
    }

    #[test]
    fn a_line_shows_what_it_is_and_emoji_stay_whole() {
        for (text, line) in [
            ("pay\u{200b}pal\u{202e}gpj.exe", "paypalgpj.exe"),
            ("pay\u{200d}pal\u{200c}", "paypal"),
            ("a\r\nb\u{2028}c\u{0}\u{85}", "a  b c  "),
            (
                "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3}",
                "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3}",
            ),
            ("👍🏽\u{200d}", "👍🏽"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("🏴\u{e0067}\u{e0062}\u{e007f} a\u{e0067}", "🏴\u{e0067}\u{e0062}\u{e007f} a"),
            ("\u{feff}x\u{ad}y\u{2066}z\u{2069}\u{e0080}\u{fff0}", "xyz"),
        ] {
            assert_eq!(one_line(text), line, "{text:?}");
        }
    }

    #[test]
    fn what_turns_the_direction_of_a_text_ends_with_it() {
        assert_eq!(isolated("plain א"), "plain א");
        assert_eq!(isolated("a\u{202e}b"), "\u{2068}a\u{202e}b\u{2069}");
        assert_eq!(isolated("\u{2069}\u{2069}a\u{2067}b"), "\u{2068}a\u{2067}b\u{2069}\u{2069}");
        assert_eq!(isolated("a\n\u{202e}b"), "\u{2068}a\u{2069}\n\u{2068}\u{202e}b\u{2069}");
    }
}
