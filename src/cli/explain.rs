//! `tidegate explain`: how a query would stand.

use super::Failure;
use crate::object::id;
use crate::server::APP;
use dataflows::engine::QueryId;
use dataflows::index::{IndexOptions, QueryIndex};
use dataflows::query::{Filter, QueryLimits};

/// Show how a live query would stand: its normal form, and which entries of the index it hangs on.
///
/// Needs no server. Asking a running one, which also knows what else hangs there: GET /explain on its listener of
/// administration.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate explain Lot '{\"city\": \"Hamburg\", \"price\": {\"$lt\": 100}}'\n  \
    tidegate explain Lot '{\"name\": {\"$regex\": \"^chair\"}}' --json")]
pub struct Explain {
    /// The bucket
    bucket: String,
    /// The query
    query: String,
    /// For machines
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let bucket = id::bucket(&self.bucket)?;
        let filter = Filter::parse(&self.query, &QueryLimits::default())?;
        let mut index = QueryIndex::new(IndexOptions::default());
        index.insert(&APP.into(), &bucket, QueryId(1), filter.predicate.clone())?;
        let explanation = index.explain(QueryId(1)).ok_or("the index does not know the query")?;
        if self.json {
            println!("{}", serde_json::json!({"query": &*filter.text, "explanation": explanation}));
        } else {
            println!("query        {}", filter.text);
            println!("{explanation}");
        }
        Ok(())
    }
}
