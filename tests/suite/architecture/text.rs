//! Rust and WGSL as text: what is code, and which lines have comments.

use std::collections::BTreeSet;

/// A source text, taken apart.
pub struct Text {
    /// Character for character the text, with blanks in place of comments and of what literals
    /// hold.
    pub code: String,
    /// The lines, counted from 1, that have something of a comment.
    pub comments: BTreeSet<usize>,
}

impl Text {
    pub fn new(text: &str) -> Self {
        let mut reader = Reader {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
            code: String::new(),
            comments: BTreeSet::new(),
        };
        while reader.at < reader.chars.len() {
            reader.next();
        }
        Self { code: reader.code, comments: reader.comments }
    }

    /// The code without what is only compiled for tests.
    pub fn outside_tests(&self) -> String {
        const TEST: &str = "#[cfg(test)]";
        let mut code = self.code.clone();
        while let Some(start) = code.find(TEST) {
            let end = item_end(&code, start + TEST.len());
            let blank: String = code[start..end].chars().map(blank).collect();
            code.replace_range(start..end, &blank);
        }
        code
    }
}

/// Where the item ends that starts here: after its body, or its semicolon.
pub fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return start + at + 1;
        }
    }
    code.len()
}

/// A blank, or the line's end.
pub fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    comments: BTreeSet<usize>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Takes a character as code, or a whole comment or literal.
    fn next(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.line_comment(),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('r', '"' | '#') if self.starts_raw() => self.raw_string(),
            ('\'', '\\') => self.quoted('\''),
            ('\'', _) if self.peek(2) == '\'' => self.quoted('\''),
            _ => self.take(true),
        }
    }

    /// Takes a character, as code or as a blank.
    fn take(&mut self, is_code: bool) {
        let c = self.peek(0);
        self.code.push(if is_code { c } else { blank(c) });
        self.line += usize::from(c == '\n');
        self.at += 1;
    }

    fn is_over(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn line_comment(&mut self) {
        self.comments.insert(self.line);
        while !self.is_over() && self.peek(0) != '\n' {
            self.take(false);
        }
    }

    /// Block comments may hold others.
    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.is_over() {
            self.comments.insert(self.line);
            let pair = (self.peek(0), self.peek(1));
            depth += i32::from(pair == ('/', '*')) - i32::from(pair == ('*', '/'));
            let is_mark = matches!(pair, ('/', '*') | ('*', '/'));
            self.take(false);
            if is_mark {
                self.take(false);
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.quoted('"');
    }

    /// A literal that ends with this mark.
    fn quoted(&mut self, mark: char) {
        self.take(true);
        while !self.is_over() && self.peek(0) != mark {
            if self.peek(0) == '\\' {
                self.take(false);
            }
            self.take(false);
        }
        self.take(true);
    }

    /// Whether a raw string starts here, and no word that ends with an r.
    fn starts_raw(&self) -> bool {
        let hashes = self.hashes(1);
        let before = |back: usize| self.at.checked_sub(back).map_or(' ', |at| self.chars[at]);
        let in_word = is_word(before(1)) && (before(1) != 'b' || is_word(before(2)));
        self.peek(1 + hashes) == '"' && !in_word
    }

    fn hashes(&self, from: usize) -> usize {
        (from..).take_while(|&ahead| self.peek(ahead) == '#').count()
    }

    fn raw_string(&mut self) {
        let hashes = self.hashes(1);
        (0..hashes + 2).for_each(|_| self.take(true));
        let ends = |reader: &Self| reader.peek(0) == '"' && reader.hashes(1) >= hashes;
        while !self.is_over() && !ends(self) {
            self.take(false);
        }
        (0..=hashes).for_each(|_| self.take(true));
    }
}
