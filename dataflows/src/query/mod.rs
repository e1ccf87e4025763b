//! The query language: MongoDB's, over documents of one bucket.
//!
//! * [`ast`]: the tree
//! * `parse`: text to tree, refusing what is not supported with path and operator
//! * `normal`: the normal form, so that equal queries written differently are one standing query
//! * `matches`: the tree against a document; live and one-shot answers both come from here
//! * `order`: comparing values with operands, brackets of types
//! * `geo`: points, shapes, distances
//! * `limits`: how deep, how large, how costly a query may be

pub mod ast;

use std::sync::Arc;

/// A query that was parsed and brought to its normal form.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The normal form as a tree
    pub predicate: Arc<ast::Predicate>,
    /// The normal form as JSON text: equal queries have equal texts
    pub text: Arc<str>,
}
