//! The query language: MongoDB's, over documents of one bucket.
//!
//! * [`ast`]: the tree
//! * `parse` (with `json`, `parse_geo`, `pattern`): text to tree, refusing what is not supported with path and operator
//! * `normal` and `text`: the normal form, so that equal queries written differently are one standing query
//! * `matches`: the tree against a document; live and one-shot answers both come from here
//! * [`order`]: comparing values with operands, brackets of types
//! * [`sort`]: the order of an answer
//! * [`geo`]: points, shapes, distances
//! * [`nearest`]: the order that `$nearSphere` gives
//! * `limits`: how deep, how large, how costly a query may be, and why one is refused
//! * `weight`: how much memory a standing query takes

pub mod ast;
pub mod geo;
mod json;
mod limits;
mod matches;
pub mod nearest;
mod normal;
pub mod order;
mod parse;
mod parse_geo;
mod pattern;
pub mod sort;
mod text;
mod weight;
mod wire;

pub use limits::{QueryError, QueryLimits};
pub use matches::Leaf;
pub use normal::{compare, normal};
pub use parse::parse;
pub use text::text;

use crate::document::Document;
use std::sync::Arc;

/// A query that was parsed and brought to its normal form.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The normal form as a tree
    pub predicate: Arc<ast::Predicate>,
    /// The normal form as JSON text: equal queries have equal texts
    pub text: Arc<str>,
}

impl Filter {
    /// Parses a query and brings it to its normal form.
    pub fn parse(text: &str, limits: &QueryLimits) -> Result<Filter, QueryError> {
        Ok(Filter::of(parse(text, limits)?))
    }

    /// Brings a tree to its normal form.
    pub fn of(predicate: ast::Predicate) -> Filter {
        let predicate = normal(predicate);
        Filter { text: text::text(&predicate).into(), predicate: Arc::new(predicate) }
    }

    /// Whether the document is in the result.
    #[inline]
    pub fn matches(&self, document: &Document) -> bool {
        self.predicate.matches(document)
    }
}
