//! `tidegate explain`: how a query would stand, and how it is answered.

use super::Failure;
use super::administration::Asking;
use crate::object::id;
use crate::server::APP;
use dataflows::engine::QueryId;
use dataflows::index::{Explanation, IndexOptions, QueryIndex};
use dataflows::query::{Filter, QueryLimits};
use hyper::Method;
use serde_json::Value;
use std::fmt::Write as _;

/// Show how a live query would stand: its normal form, and which entries of the index it hangs on.
///
/// Needs no server. With --ask a running one is asked: it knows what else hangs there, and shows how it answers the query once:
/// by which index, what else was considered, how many objects it looked at.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate explain Lot '{\"city\": \"Hamburg\", \"price\": {\"$lt\": 100}}'\n  \
    tidegate explain Lot '{\"name\": {\"$regex\": \"^chair\"}}' --json\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate explain Lot '{\"city\": \"Hamburg\"}' --ask --sort '{\"price\": 1}' --count 10")]
pub struct Explain {
    /// The bucket
    bucket: String,
    /// The query
    query: String,
    /// Ask a running server
    #[arg(long)]
    ask: bool,
    /// With --ask: the order of the answer
    #[arg(long, requires = "ask", value_name = "SORT")]
    sort: Option<String>,
    /// With --ask: so many objects; all otherwise
    #[arg(long, requires = "ask", value_name = "N")]
    count: Option<u64>,
    /// With --ask: the app; the default one otherwise
    #[arg(long, requires = "ask", value_name = "APP")]
    app: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

impl Explain {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        if self.ask {
            return self.asked();
        }
        let bucket = id::bucket(&self.bucket)?;
        let filter = Filter::parse(&self.query, &QueryLimits::default())?;
        let mut index = QueryIndex::new(IndexOptions::default());
        index.insert(&APP.into(), &bucket, QueryId(1), filter.predicate.clone())?;
        let explanation = index.explain(QueryId(1)).ok_or("the index does not know the query")?;
        if self.asking.json {
            println!("{}", serde_json::json!({"query": &*filter.text, "explanation": explanation}));
        } else {
            println!("query        {}", filter.text);
            println!("{explanation}");
        }
        Ok(())
    }

    fn asked(self) -> Result<(), Failure> {
        let mut path = format!("/explain?bucket={}&q={}", id::encode_component(&self.bucket), id::encode_component(&self.query));
        let count = self.count.map(|count| count.to_string());
        for (name, value) in [("sort", &self.sort), ("count", &count), ("app", &self.app)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", id::encode_component(value)));
            }
        }
        let (answer, _) = self.asking.ask(Method::GET, &path, None)?;
        if self.asking.json {
            println!("{answer}");
        } else {
            print!("{}", shown(&answer)?);
        }
        Ok(())
    }
}

/// A server's answer for people.
fn shown(answer: &Value) -> Result<String, Failure> {
    let mut out = String::new();
    let explanation: Explanation = serde_json::from_value(answer.get("explanation").cloned().unwrap_or_default())?;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "query        {}", answer.get("query").and_then(Value::as_str).unwrap_or_default());
    let _ = writeln!(out, "{explanation}");
    let once = answer.get("answer").unwrap_or(&Value::Null);
    let number = |name: &str| once.get(name).and_then(Value::as_u64).unwrap_or(0);
    let _ = writeln!(out, "once         {}", plan(once.get("plan").unwrap_or(&Value::Null)));
    for other in once.get("alternatives").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(out, "  instead of {}", plan(other));
    }
    let (examined, returned) = (number("rowsExamined"), number("rowsReturned"));
    let _ = writeln!(out, "  looked at {examined} objects, {returned} in the answer, {} us", number("micros"));
    Ok(out)
}

/// A way to answer on one line.
fn plan(plan: &Value) -> String {
    let indexes: Vec<&str> = plan.get("indexes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut line = plan.get("kind").and_then(Value::as_str).unwrap_or("?").to_owned();
    if !indexes.is_empty() {
        line.push_str(&format!(" {} in {} ranges", indexes.join(", "), plan.get("ranges").and_then(Value::as_u64).unwrap_or(0)));
    }
    match (plan.get("rows").and_then(Value::as_u64), plan.get("rowsAtLeast").and_then(Value::as_u64)) {
        (Some(rows), _) => line.push_str(&format!(": {rows} objects")),
        (None, Some(rows)) => line.push_str(&format!(": {rows} objects or more")),
        (None, None) => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_one_line() {
        let index = json!({"kind": "index", "indexes": ["(city asc)"], "ranges": 2, "rows": 7});
        assert_eq!(plan(&index), "index (city asc) in 2 ranges: 7 objects");
        assert_eq!(plan(&json!({"kind": "scan", "ranges": 1, "rowsAtLeast": 65})), "scan: 65 objects or more");
    }
}
