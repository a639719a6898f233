//! As much of Rust's grammar as the rules need: words and signs with their lines, without comments, strings and
//! lifetimes; and the paths that they make.

/// A file in words and signs.
pub(crate) struct Tokens(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    /// A word, `::`, or one sign.
    text: String,
}

/// One name that a file uses, written out: `use a::{b, c::*}` is `a::b` and `a::c::*`.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) line: usize,
    names: Vec<String>,
    /// In how many modules of its file it stands.
    depth: usize,
}

impl Path {
    /// The room that it leads to from a file that is the module `level` levels below the crate's root.
    pub(crate) fn room(&self, level: usize) -> Option<&str> {
        let supers = self.names.iter().take_while(|n| *n == "super").count();
        let at = match self.names.first()?.as_str() {
            "crate" => 1,
            "super" if supers == level + self.depth => supers,
            _ => return None,
        };
        self.names.get(at).map(String::as_str)
    }

    /// Whether it names `what` or something in it, or opens a way to it (`std::net` or `std::net::*` to
    /// `std::net::UdpSocket`).
    pub(crate) fn touches(&self, what: &str) -> bool {
        let what: Vec<&str> = what.split("::").collect();
        let names: Vec<&str> = self.names.iter().map(String::as_str).filter(|n| *n != "*").collect();
        let opens = names.len() > 1 && what.starts_with(&names);
        self.names.len() > 1 && (names.starts_with(&what) || opens)
    }
}

impl Tokens {
    pub(crate) fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (mut tokens, mut line, mut at) = (Vec::new(), 1, 0);
        while at < chars.len() {
            let end = skipped(&chars, at);
            if end > at {
                line += chars[at..end].iter().filter(|c| **c == '\n').count();
                at = end;
                continue;
            }
            let word = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            let length = if chars[at..].starts_with(&[':', ':']) { 2 } else { word.max(1) };
            tokens.push(Token { line, text: chars[at..at + length].iter().collect() });
            at += length;
        }
        Self(tokens)
    }

    fn text(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |t| t.text.as_str())
    }

    fn is_word(&self, at: usize) -> bool {
        self.text(at).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    /// The macros that are called.
    pub(crate) fn macros(&self) -> impl Iterator<Item = (usize, &str)> {
        (0..self.0.len())
            .filter(|i| self.is_word(*i) && self.text(i + 1) == "!" && "([{".contains(self.text(i + 2)))
            .map(|i| (self.0[i].line, self.text(i)))
    }

    /// Lines with the attribute `#[name...]`.
    pub(crate) fn attributes(&self, name: &str) -> impl Iterator<Item = usize> {
        (0..self.0.len())
            .filter(move |i| [self.text(*i), self.text(i + 1), self.text(i + 2)] == ["#", "[", name])
            .map(|i| self.0[i].line)
    }

    /// All paths.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let (mut paths, mut at) = (Vec::new(), 0);
        // For each open brace, whether it is a module's.
        let mut braces = Vec::new();
        while at < self.0.len() {
            match self.text(at) {
                "{" => braces.push(at >= 2 && self.text(at - 2) == "mod"),
                "}" => drop(braces.pop()),
                "use" => {}
                _ if self.is_word(at) => {
                    let depth = braces.iter().filter(|module| **module).count();
                    at = self.tree(at, &[], depth, &mut paths);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        paths
    }

    /// Takes the path or the tree of paths at `at`; gives the place behind it.
    fn tree(&self, mut at: usize, prefix: &[String], depth: usize, paths: &mut Vec<Path>) -> usize {
        let mut names = prefix.to_vec();
        let line = self.0.get(at).map_or(0, |t| t.line);
        while self.is_word(at) || self.text(at) == "*" {
            names.push(self.text(at).to_owned());
            at += 1;
            if self.text(at) != "::" {
                break;
            }
            at += 1;
            if self.text(at) == "{" {
                at += 1;
                while at < self.0.len() && self.text(at) != "}" {
                    let next = self.tree(at, &names, depth, paths);
                    // Commas, and what is no path.
                    at = next.max(at + 1);
                    while self.text(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
        }
        paths.push(Path { line, names, depth });
        at
    }
}

/// Where that ends which begins at `at` and is no code: a blank, a comment, a string, a character, a lifetime.
fn skipped(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let find = |from: usize, what: &[char]| {
        (from..rest.len()).find(|i| rest[*i..].starts_with(what)).map_or(rest.len(), |i| i + what.len())
    };
    let raw = rest.iter().skip(1).take_while(|c| **c == '#').count();
    let length = match rest {
        [c, ..] if c.is_whitespace() => 1,
        ['/', '/', ..] => find(2, &['\n']),
        ['/', '*', ..] => comment(rest),
        ['r', '"' | '#', ..] if rest.get(raw + 1) == Some(&'"') => {
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', raw)).collect();
            find(raw + 2, &end)
        }
        ['"', ..] => quoted(rest, '"'),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
        ['\'', ..] => 1 + rest[1..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count(),
        _ => 0,
    };
    at + length
}

/// Block comments nest.
fn comment(rest: &[char]) -> usize {
    let (mut open, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (open, at) = (open + 1, at + 2),
            ['*', '/', ..] => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}
