//! How deep, how large and how costly a query may be, and why one is refused.

/// What a query may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes of JSON text
    pub bytes: usize,
    /// Conditions and operand values within each other; at most 40 whatever is asked for
    pub depth: usize,
    /// Values of any kind in the text: fields, operands, elements of operands
    pub nodes: usize,
    /// Bytes of one regular expression as written
    pub regex_source: usize,
    /// Bytes of one regular expression when compiled
    pub regex_compiled: usize,
    /// Regular expressions in one query
    pub regexes: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits { bytes: 1 << 20, depth: 32, nodes: 20_000, regex_source: 1_000, regex_compiled: 256 << 10, regexes: 32 }
    }
}

impl QueryLimits {
    /// For texts that were judged before: the normal form of a query may be longer than what was written.
    pub(crate) fn unlimited() -> QueryLimits {
        let all = usize::MAX;
        QueryLimits { bytes: all, depth: all, nodes: all, regex_source: all, regex_compiled: 64 << 20, regexes: all }
    }

    /// Deeper trees would need text that no JSON reader takes back: it stops at 128 levels, and one
    /// level of conditions needs up to three of JSON.
    pub(crate) fn depth(&self) -> usize {
        self.depth.min(40)
    }
}

/// Why a text is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Not JSON, or an operand that its operator cannot take
    #[error("the query cannot be read{}: {reason}", at(path))]
    Syntax {
        /// Dotted path of the condition, empty for the query itself
        path: Box<str>,
        /// What is wrong and what is expected
        reason: Box<str>,
    },
    /// An operator that does not exist or does not belong here
    #[error("the operator {operator} is not supported{}: {reason}", at(path))]
    Operator {
        /// Dotted path of the condition, empty for the query itself
        path: Box<str>,
        /// As written
        operator: Box<str>,
        /// What may stand here
        reason: Box<str>,
    },
    /// Conditions or operands nested beyond [`QueryLimits::depth`]
    #[error("the query is nested too deep: at most {limit} levels are allowed")]
    TooDeep {
        /// The limit
        limit: usize,
    },
    /// More of something than its limit
    #[error("the query is too large: at most {limit} {what} are allowed")]
    TooLarge {
        /// Of what there is too much
        what: &'static str,
        /// The limit
        limit: usize,
    },
    /// A regular expression that cannot be compiled, or not within its limits
    #[error("the regular expression{} is refused: {reason}", at(path))]
    Regex {
        /// Dotted path of the condition
        path: Box<str>,
        /// What is wrong with it
        reason: Box<str>,
    },
}

impl QueryError {
    /// A stable name of the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            QueryError::Syntax { .. } => "query-syntax",
            QueryError::Operator { .. } => "query-operator",
            QueryError::TooDeep { .. } => "query-too-deep",
            QueryError::TooLarge { .. } => "query-too-large",
            QueryError::Regex { .. } => "query-regex",
        }
    }

    pub(crate) fn syntax(path: &str, reason: impl Into<Box<str>>) -> QueryError {
        QueryError::Syntax { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn operator(path: &str, operator: &str, reason: impl Into<Box<str>>) -> QueryError {
        QueryError::Operator { path: path.into(), operator: operator.into(), reason: reason.into() }
    }
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path:?}") }
}
