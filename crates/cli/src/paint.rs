//! Colour for people at a terminal, and nothing for anybody else. Decides how text looks, never what it says.

use std::io::IsTerminal;

/// Whether to colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self { is_on: std::io::stdout().is_terminal() && is_wanted() }
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self { is_on: std::io::stderr().is_terminal() && is_wanted() }
    }

    /// Without colour.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { is_on: false }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.dress("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.dress("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.dress("33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.dress("36", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.dress("1", text)
    }

    fn dress(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A unified diff, its lines coloured.
    pub(crate) fn diff(self, text: &str) -> String {
        if !self.is_on {
            return text.to_owned();
        }
        text.split_inclusive('\n')
            .map(|line| {
                let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
                let body = &harmless(body);
                let dressed = match body.as_bytes().first() {
                    Some(b'+') if body.starts_with("+++") => self.bold(body),
                    Some(b'-') if body.starts_with("---") => self.bold(body),
                    Some(b'+') => self.green(body),
                    Some(b'-') => self.red(body),
                    Some(b'@') => self.cyan(body),
                    _ => body.clone(),
                };
                dressed + end
            })
            .collect()
    }
}

/// Whether the environment wants colour (<https://no-color.org>).
fn is_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The text without what a terminal would obey: control characters in a manifest's strings come out as escapes.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_harmful) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_harmful(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_coloured_that_is_not_for_a_terminal() {
        let plain = Paint { is_on: false };
        assert_eq!(plain.red("x") + &plain.diff("+a\n-b\n"), "x+a\n-b\n");
    }

    #[test]
    fn a_diff_is_coloured_line_by_line() {
        let text = Paint { is_on: true }.diff("--- a\n@@ 1\n-x\n+y\n z");
        assert_eq!(
            text,
            "\u{1b}[1m--- a\u{1b}[0m\n\u{1b}[36m@@ 1\u{1b}[0m\n\u{1b}[31m-x\u{1b}[0m\n\u{1b}[32m+y\u{1b}[0m\n z"
        );
    }

    #[test]
    fn a_manifest_cannot_command_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}\tc\n"), "a\\u{1b}[2Jb\\u{9b}\tc\n");
    }
}
