//! What a kernel expects of a rule's WGSL, and what to say to its author where that is not met.
//!
//! Compilers number the lines of the linked text; authors know only their own. What can be told
//! from the rule's declarations alone is told before anything is compiled.

use crate::error::Error;
use crate::rule::DynRule;
use crate::shader::link::Shader;

/// Where a compiler found a mistake in the linked text, in bytes as WebGPU counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// The line, counted from 1.
    pub line: usize,
    /// The column of its first byte, counted from 1.
    pub column: usize,
    /// The number of bytes.
    pub length: usize,
}

/// Refuses a rule whose declarations are not those that the kernel and the rule's Rust side expect.
pub fn check(rule: &dyn DynRule, shader: &Shader) -> Result<(), Error> {
    let code = without_comments(rule.wgsl());
    for (name, fields, field_type) in structs(rule) {
        check_struct(rule, &code, name, &fields, field_type)?;
    }
    check_overrides(rule, shader, &code)?;
    let taken = kernel_names(rule, shader);
    match declarations(&code).iter().find(|own| taken.iter().any(|name| name == own.name)) {
        Some(own) => {
            let problem = format!("its `{}` has a name that the kernel uses", own.name);
            Err(refusal(rule, shader, &problem, Some(own.location()), "choose another name"))
        }
        None => Ok(()),
    }
}

/// A compiler's complaint about the linked text, in terms of the rule's own.
pub fn explain(
    rule: &dyn DynRule,
    shader: &Shader,
    complaint: &str,
    at: Option<Location>,
) -> Error {
    let at = innermost(complaint, &shader.text).or(at);
    let (complaint, label) = condensed(complaint);
    let lines = rule.wgsl().lines().count();
    let own = at.and_then(|at| {
        let line = at.line.checked_sub(shader.rule_line)? + 1;
        (line <= lines).then_some(Location { line, ..at })
    });
    let problem = match (at, own) {
        (Some(at), None) => {
            let line = shader.text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
            format!(
                "its WGSL does not fit the kernel's: {complaint}, where the kernel has `{}`. {}",
                line.trim(),
                suspect(rule)
            )
        }
        _ => format!("its WGSL does not compile: {complaint}"),
    };
    refusal(rule, shader, &problem, own, &label)
}

/// The whole message: the problem, the line it is in, and what the kernel expects.
fn refusal(
    rule: &dyn DynRule,
    shader: &Shader,
    problem: &str,
    own: Option<Location>,
    label: &str,
) -> Error {
    let place = own.map_or(String::new(), |at| excerpt(rule.wgsl(), at, label));
    Error::rule(rule.name(), format!("{problem}\n{place}{}", expected(rule, shader)))
}

/// The line in question as compilers show it, with a caret below each character meant.
fn excerpt(wgsl: &str, at: Location, label: &str) -> String {
    let line = wgsl.lines().nth(at.line - 1).unwrap_or_default();
    // The first byte's column may be behind the line's last character, where something is missing.
    let before = line.get(..at.column.saturating_sub(1)).unwrap_or(line);
    let meant = line[before.len()..].get(..at.length).unwrap_or(&line[before.len()..]);
    // A tab stays one, so that the caret stands below its character at any width of tabs.
    let blank: String = before.chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
    let carets = "^".repeat(meant.chars().count().max(1));
    let (number, column) = (at.line.to_string(), before.chars().count() + 1);
    let gutter = " ".repeat(number.len());
    format!(
        "{gutter}--> line {number}, column {column} of the rule's WGSL\n\
         {gutter} |\n{number} | {line}\n{gutter} | {}\n",
        format!("{blank}{carets} {label}").trim_end()
    )
}

/// The declarations that the kernel expects, and the names that a rule cannot give its own.
fn expected(rule: &dyn DynRule, shader: &Shader) -> String {
    let fields = |names: &[&str], ty: &str| {
        names.iter().map(|name| format!("{name}: {ty}")).collect::<Vec<_>>().join(", ")
    };
    let options = rule.options();
    let overrides: String =
        options.iter().map(|(name, _)| format!("  override {name}: bool;\n")).collect();
    let none = if options.is_empty() { ": it has none" } else { "" };
    let structs = structs(rule)
        .map(|(name, names, ty)| format!("  struct {name} {{ {} }}\n", fields(&names, ty)));
    format!(
        "The kernel expects\n{}{}{overrides}\
         where `Real` is vec4<f32>, with one `override NAME: bool;` for each of the rule's options{none}. \
         These names are the kernel's: {}",
        structs.collect::<String>(),
        functions(rule).iter().map(|(_, head)| format!("  {head}\n")).collect::<String>(),
        kernel_names(rule, shader).join(", ")
    )
}

/// The structs that a rule declares: their names, fields, and the fields' type.
fn structs(
    rule: &dyn DynRule,
) -> impl Iterator<Item = (&'static str, Vec<&'static str>, &'static str)> {
    let sums: Vec<_> = rule.sums().iter().map(|sum| sum.name).collect();
    let of_sums = [("Summands", sums.clone(), "Real"), ("Sums", sums, "f32")];
    let has_sums = !of_sums[0].1.is_empty();
    [("Coeffs", rule.coeff_names().to_vec(), "f32"), ("State", rule.state_names().to_vec(), "Real")]
        .into_iter()
        .chain(of_sums.into_iter().filter(move |_| has_sums))
}

/// The functions that kernels call: their names and signatures.
fn functions(rule: &dyn DynRule) -> &'static [(&'static str, &'static str)] {
    const ALL: [(&str, &str); 3] = [
        ("update", "fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real"),
        (
            "summands",
            "fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands",
        ),
        ("with_sums", "fn with_sums(c: Coeffs, sums: Sums) -> Coeffs"),
    ];
    if rule.sums().is_empty() { &ALL[..1] } else { &ALL }
}

/// What in the rule makes the kernel's text fail: a function, which it calls, or a brace left open.
fn suspect(rule: &dyn DynRule) -> String {
    let code = without_comments(rule.wgsl());
    let [opened, closed] = ['{', '}'].map(|brace| code.matches(brace).count());
    if opened != closed {
        return format!("The rule opens {opened} braces and closes {closed}");
    }
    let declarations = declarations(&code);
    let found = functions(rule).iter().map(|(name, _)| {
        match declarations.iter().find(|own| own.keyword == "fn" && own.name == *name) {
            Some(own) => format!("The rule has `{}`, on line {}", own.head, own.location().line),
            None => format!("The rule has no `fn {name}`"),
        }
    });
    found.collect::<Vec<_>>().join(". ")
}

/// The names that the linked text declares outside the rule.
fn kernel_names(rule: &dyn DynRule, shader: &Shader) -> Vec<String> {
    let rule_lines = shader.rule_line..shader.rule_line + rule.wgsl().lines().count();
    let outside = (1..).zip(shader.text.lines()).filter(|(line, _)| !rule_lines.contains(line));
    let outside_rule = outside.map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    declarations(&without_comments(&outside_rule)).iter().map(|own| own.name.to_owned()).collect()
}

/// A complaint in one line, and what naga writes beside the place.
///
/// naga renders an excerpt of the linked text, whose numbers would mislead the rule's author.
fn condensed(complaint: &str) -> (String, String) {
    let Some((text, excerpt)) = complaint.split_once("┌─") else {
        let causes = complaint.rsplit_once("Caused by:").map_or(complaint, |(_, causes)| causes);
        let lines: Vec<_> = causes.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        return (lines.join(": "), String::new());
    };
    let headline = text.rsplit_once("error: ").map_or(text, |(_, headline)| headline).trim();
    let lines = excerpt.lines().map(str::trim);
    let notes = lines.clone().filter_map(|line| line.strip_prefix("= "));
    // Names of naga's own structures tell an author nothing.
    let label = lines
        .filter_map(|line| Some(line.rsplit_once('^')?.1.trim()))
        .find(|label| !label.starts_with("naga::"));
    let parts: Vec<_> = std::iter::once(headline).chain(notes).collect();
    (parts.join("; "), label.unwrap_or_default().to_owned())
}

/// The expression that naga's validator underlines, where its location is all of a function.
///
/// It is the excerpt's row of carets without a bracket that spans lines, below its source line.
fn innermost(complaint: &str, text: &str) -> Option<Location> {
    let (_, excerpt) = complaint.split_once("validation error")?.1.split_once("┌─")?;
    let rows: Vec<_> = excerpt.lines().filter_map(|row| row.split_once('│')).collect();
    rows.windows(2).find_map(|pair| {
        let [(number, shown), (_, marks)] = pair else { return None };
        let line: usize = number.trim().parse().ok()?;
        let source = text.lines().nth(line.checked_sub(1)?)?;
        let before_caret = marks.split_once('^').filter(|_| !marks.contains('─'))?.0;
        // Tabs are shown as blanks: count from the first character that is none.
        let indent = shown.strip_suffix(source.trim())?.chars().count();
        let skipped = before_caret.chars().count().checked_sub(indent)?;
        let start = source.len() - source.trim_start().len();
        let at = source[start..].char_indices().nth(skipped)?.0;
        let length = marks.matches('^').count();
        Some(Location { line, column: start + at + 1, length })
    })
}

/// Refuses options without their constants, and constants that are no options: these would have no
/// value.
fn check_overrides(rule: &dyn DynRule, shader: &Shader, code: &str) -> Result<(), Error> {
    let options = rule.options();
    let own = declarations(code);
    let overrides = || own.iter().filter(|own| own.keyword == "override");
    for (option, _) in &options {
        let expected = format!("override {option}: bool");
        let Some(found) = overrides().find(|own| own.name == *option) else {
            let problem = format!("its options have `{option}`, but its WGSL has no `{expected};`");
            return Err(refusal(rule, shader, &problem, None, ""));
        };
        let compact = |text: &str| text.split_whitespace().collect::<String>();
        if compact(found.head) != compact(&expected) {
            let problem = format!("an option is a bool without a value in the WGSL: `{expected};`");
            return Err(refusal(rule, shader, &problem, Some(found.location()), ""));
        }
    }
    match overrides().find(|own| options.iter().all(|(option, _)| own.name != *option)) {
        Some(unknown) => {
            let problem =
                format!("its WGSL has `override {}`, which is none of its options", unknown.name);
            let remedy = "return it from `Rule::options`, or make it a `const`";
            Err(refusal(rule, shader, &problem, Some(unknown.location()), remedy))
        }
        None => Ok(()),
    }
}

/// Refuses a WGSL struct whose fields are not those of its Rust twin: the host would upload, or the
/// kernel load, one number in place of another.
fn check_struct(
    rule: &dyn DynRule,
    code: &str,
    name: &str,
    expected: &[&str],
    field_type: &str,
) -> Result<(), Error> {
    let list = |fields: &[(String, String)]| {
        fields.iter().map(|(name, ty)| format!("{name}: {ty}")).collect::<Vec<_>>().join(", ")
    };
    let expected: Vec<_> =
        expected.iter().map(|field| ((*field).to_owned(), field_type.to_owned())).collect();
    let Some(found) = struct_fields(code, name) else {
        let problem = format!(
            "its WGSL has no `struct {name}`; the kernel expects `struct {name} {{ {} }}`",
            list(&expected)
        );
        return Err(Error::rule(rule.name(), problem));
    };
    if found == expected {
        return Ok(());
    }
    let problem = format!(
        "`struct {name}` differs between WGSL and Rust, in names, order or types.\n  \
         WGSL: {}\n  Rust: {}\nMake the two lists the same",
        list(&found),
        list(&expected)
    );
    Err(Error::rule(rule.name(), problem))
}

/// The fields of a WGSL struct as (name, type), or `None` if there is no such struct.
fn struct_fields(code: &str, name: &str) -> Option<Vec<(String, String)>> {
    let mut rest = code;
    let body = loop {
        let (_, after) = rest.split_once("struct ")?;
        let (found, after_name) = after.split_once('{')?;
        if found.trim() == name {
            break after_name.split_once('}')?.0;
        }
        rest = after;
    };
    let field = |text: &str| {
        let (name, ty) = text.split_once(':')?;
        Some((name.trim().to_owned(), ty.trim().to_owned()))
    };
    Some(body.split(',').filter_map(field).collect())
}

/// Something that WGSL declares for the whole module.
#[derive(Debug)]
struct Declaration<'a> {
    keyword: &'a str,
    name: &'a str,
    /// The declaration up to its body or its end.
    head: &'a str,
    /// All of the text before the name.
    before: &'a str,
}

impl Declaration<'_> {
    /// The name's place.
    fn location(&self) -> Location {
        let line_start = self.before.rfind('\n').map_or(0, |newline| newline + 1);
        Location {
            line: self.before.matches('\n').count() + 1,
            column: self.before.len() - line_start + 1,
            length: self.name.len(),
        }
    }
}

/// What WGSL without comments declares. A missing brace hides only variables and constants: the
/// other keywords stand nowhere but at the start of a declaration.
fn declarations(code: &str) -> Vec<Declaration<'_>> {
    let mut declarations = Vec::new();
    let mut depth = 0;
    let mut words = words(code).into_iter();
    while let Some((start, keyword)) = words.next() {
        match keyword {
            "{" | "(" => depth += 1,
            "}" | ")" => depth -= 1,
            "fn" | "struct" | "alias" | "override" => {}
            "const" | "var" if depth == 0 => {}
            _ => continue,
        }
        if !is_word(keyword) {
            continue;
        }
        let mut next = words.next();
        if matches!(next, Some((_, "<"))) {
            // The address space and access of a `var`.
            next = words.by_ref().skip_while(|&(_, word)| word != ">").nth(1);
        }
        if let Some((at, name)) = next.filter(|(_, name)| is_word(name)) {
            let head = code[start..].split(['{', ';']).next().unwrap_or_default().trim_end();
            declarations.push(Declaration { keyword, name, head, before: &code[..at] });
        }
    }
    declarations
}

/// Names, keywords and numbers, whole, and everything else by the character, each with its offset.
fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words: Vec<(usize, &str)> = Vec::new();
    for (at, c) in code.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        let text = &code[at..at + c.len_utf8()];
        match words.last_mut() {
            Some((start, word)) if is_word(text) && is_word(word) && *start + word.len() == at => {
                *word = &code[*start..at + text.len()];
            }
            _ => words.push((at, text)),
        }
    }
    words
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The text with blanks for comments, so that everything else keeps its place.
fn without_comments(wgsl: &str) -> String {
    let mut code = String::with_capacity(wgsl.len());
    let mut rest = wgsl;
    while let Some(c) = rest.chars().next() {
        let comment = match rest.get(..2) {
            Some("//") => rest.find('\n').unwrap_or(rest.len()),
            Some("/*") => block_comment(rest),
            _ => 0,
        };
        let (taken, after) = rest.split_at(comment.max(c.len_utf8()));
        if comment > 0 {
            code.extend(taken.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            code += taken;
        }
        rest = after;
    }
    code
}

/// The length of the block comment that the text starts with; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
    }

    #[test]
    fn struct_fields_are_found_past_comments_and_other_structs() {
        let wgsl = "// struct B { z: f32 }\nstruct A { x: u32 }\nstruct B {\n  x: f32, // y: f32,\n  w: Real,\n}";
        let code = without_comments(wgsl);
        assert_eq!(struct_fields(&code, "B"), Some(pairs(&[("x", "f32"), ("w", "Real")])));
        assert_eq!(struct_fields(&code, "A"), Some(pairs(&[("x", "u32")])));
        assert_eq!(struct_fields(&code, "C"), None);
    }

    #[test]
    fn comments_become_blanks_and_nothing_moves() {
        let wgsl = "a /* é /* b */\n c */ d // ü /*\ne";
        let code = without_comments(wgsl);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "d", "e"]);
        for name in ["a", "d", "e"] {
            assert_eq!(code.rfind(name), wgsl.rfind(name));
        }
        assert_eq!(without_comments("a /* b").trim(), "a");
    }

    #[test]
    fn declarations_are_those_of_the_module() {
        let code = "@id(1) override on: bool; const K = 1u; alias T = f32;\n\
                    @group(0) @binding(0) var<storage, read> table: array<u32>;\n\
                    struct S { fnord: f32 }\nfn f(const_x: u32) -> T {\n  const K2 = 2; var v = 1;\n}";
        let found = declarations(code);
        let names: Vec<_> = found.iter().map(|own| own.name).collect();
        assert_eq!(names, ["on", "K", "T", "table", "S", "f"]);
        assert_eq!(found[5].head, "fn f(const_x: u32) -> T");
        assert_eq!(found[3].location(), Location { line: 2, column: 42, length: 5 });
    }

    #[test]
    fn an_excerpt_counts_characters_and_keeps_tabs() {
        let at = Location { line: 2, column: 5, length: 2 };
        let found = excerpt("é\n\té x2 y", at, "here");
        assert!(found.contains("line 2, column 4"), "{found}");
        assert!(found.contains("2 | \té x2 y\n  | \t  ^^ here\n"), "{found}");
        // What is missing behind the last character.
        let at = Location { line: 1, column: 9, length: 3 };
        assert!(excerpt("a", at, "").contains("1 | a\n  |  ^\n"));
    }
}
