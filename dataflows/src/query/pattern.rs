//! Regular expressions: MongoDB's dialect (PCRE) read by an engine that runs in linear time.
//!
//! Where the two dialects read the same text differently, the text is translated (`\d`, `\w`, `\s` and `\b` know ASCII
//! only) or refused (operations on classes, repeated repetitions). What linear time cannot do is refused: look-around,
//! back-references. One difference stays: `$` without the option `m` is the end of the text alone, as in JavaScript, not also the
//! place before a last line break.

use super::ast::Pattern;
use super::limits::QueryLimits;
use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{self, Ast};

impl Pattern {
    /// Compiles an expression. The reason for a refusal is for the person who wrote it.
    pub fn new(source: &str, options: &str, limits: &QueryLimits) -> Result<Pattern, String> {
        if source.len() > limits.regex_source {
            return Err(format!("it has {} bytes, at most {} are allowed", source.len(), limits.regex_source));
        }
        let mut letters: Vec<char> = options.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        if let Some(unknown) = letters.iter().find(|letter| !"imsx".contains(**letter)) {
            return Err(format!("the option {unknown:?} is not supported, known are i, m, s and x"));
        }
        let options: String = letters.into_iter().collect();
        let translated = translate(source, options.contains('x'))?;
        let text = if options.is_empty() { translated } else { format!("(?{options}){translated}") };
        let (regex, compiled) = compile(&text, limits.regex_compiled).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!("compiled it is larger than {limit} bytes"),
            other => other.to_string(),
        })?;
        Ok(Pattern { source: source.into(), options: options.into(), regex, compiled })
    }
}

/// Most expressions are no larger.
const USUAL: usize = 4 << 10;

/// Compiles within a limit and says how large the result is, to a factor of four. A compiled expression does not tell, but the compiler stops
/// at a limit: trying smaller ones first costs a third more at most.
fn compile(text: &str, limit: usize) -> Result<(Regex, usize), regex::Error> {
    let mut bound = USUAL.min(limit);
    loop {
        match RegexBuilder::new(text).size_limit(bound).dfa_size_limit(limit).nest_limit(NESTING).build() {
            Err(regex::Error::CompiledTooBig(_)) if bound < limit => bound = bound.saturating_mul(4).min(limit),
            built => return Ok((built?, bound)),
        }
    }
}

/// Groups, repetitions and classes within each other.
const NESTING: u32 = 50;

fn translate(source: &str, ignore_whitespace: bool) -> Result<String, String> {
    let ast = ast::parse::ParserBuilder::new().ignore_whitespace(ignore_whitespace).nest_limit(NESTING).build().parse(source).map_err(
        |error| match error.kind() {
            ast::ErrorKind::UnsupportedLookAround => "look-around is not supported, expressions run in linear time".to_owned(),
            ast::ErrorKind::UnsupportedBackreference => "back-references are not supported, expressions run in linear time".to_owned(),
            kind => format!("{kind} (at byte {})", error.span().start.offset),
        },
    )?;
    let edits = ast::visit(&ast, Edits(Vec::new()))?;
    let mut translated = String::with_capacity(source.len() + 16);
    let mut done = 0;
    for (start, end, replacement) in edits {
        translated.push_str(source.get(done..start).unwrap_or_default());
        translated.push_str(&replacement);
        done = end;
    }
    translated.push_str(source.get(done..).unwrap_or_default());
    Ok(translated)
}

/// (from, to, text instead), in the order of the source.
struct Edits(Vec<(usize, usize, String)>);

impl Edits {
    fn replace(&mut self, span: &ast::Span, text: &str) {
        self.0.push((span.start.offset, span.end.offset, text.to_owned()));
    }
}

fn ascii(class: &ast::ClassPerl) -> &'static str {
    match (&class.kind, class.negated) {
        (ast::ClassPerlKind::Digit, false) => "[:digit:]",
        (ast::ClassPerlKind::Digit, true) => "[:^digit:]",
        (ast::ClassPerlKind::Space, false) => "[:space:]",
        (ast::ClassPerlKind::Space, true) => "[:^space:]",
        (ast::ClassPerlKind::Word, false) => "[:word:]",
        (ast::ClassPerlKind::Word, true) => "[:^word:]",
    }
}

impl ast::Visitor for Edits {
    type Output = Vec<(usize, usize, String)>;
    type Err = String;

    fn finish(self) -> Result<Self::Output, String> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        match ast {
            Ast::ClassPerl(class) => self.replace(&class.span, &format!("[{}]", ascii(class))),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::WordBoundary => self.replace(&assertion.span, r"(?-u:\b)"),
                ast::AssertionKind::NotWordBoundary => self.replace(&assertion.span, r"(?-u:\B)"),
                ast::AssertionKind::WordBoundaryStartAngle => self.replace(&assertion.span, "<"),
                ast::AssertionKind::WordBoundaryEndAngle => self.replace(&assertion.span, ">"),
                ast::AssertionKind::WordBoundaryStart
                | ast::AssertionKind::WordBoundaryEnd
                | ast::AssertionKind::WordBoundaryStartHalf
                | ast::AssertionKind::WordBoundaryEndHalf => return Err("\\b{…} is not supported".to_owned()),
                _ => {}
            },
            Ast::Repetition(repetition) if matches!(*repetition.ast, Ast::Repetition(_)) => {
                return Err(
                    "a repetition is repeated directly (possessive forms are not supported); put the inner one in a group".to_owned()
                );
            }
            Ast::Flags(flags) => known(&flags.flags)?,
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    known(flags)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), String> {
        match item {
            ast::ClassSetItem::Perl(class) => self.replace(&class.span, ascii(class)),
            ast::ClassSetItem::Bracketed(_) => return Err("a [ inside a class must be written \\[".to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), String> {
        Err("inside a class &&, -- and ~~ must be written with backslashes".to_owned())
    }
}

fn known(flags: &ast::Flags) -> Result<(), String> {
    for item in &flags.items {
        if let ast::FlagsItemKind::Flag(ast::Flag::Unicode | ast::Flag::CRLF | ast::Flag::SwapGreed) = item.kind {
            return Err("inside an expression only the flags i, m, s and x are supported".to_owned());
        }
    }
    Ok(())
}
