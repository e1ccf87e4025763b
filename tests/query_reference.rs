//! The query language against two independent MongoDB matchers, each in a process of its own: mingo (npm) and montydb (PyPI).
//!
//! Random documents and random queries over every operator but the geographical ones. Where a reference deviates from what MongoDB
//! documents, `exemptions` says so: class of difference, whose it is, the rule with the page of the manual that judges. Everything else must agree,
//! and few cases may be left to which both references have no answer. `TIDEGATE_CASES` sets the number of cases.
//!
//! Needs `node` with `npm` and `python3` with `pip`; the first run installs the pinned packages below the target folder.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "reference/exemptions.rs"]
mod exemptions;
#[path = "oracle/generate.rs"]
mod generate;
#[path = "reference/process.rs"]
mod process;

use bytes::Bytes;
use dataflows::document::{DateFields, Document, DocumentLimits};
use dataflows::query::{Filter, QueryLimits};
use exemptions::{Case, EXEMPTIONS, Reference};
use generate::Generator;
use process::Answer;
use std::collections::BTreeMap;

const DEFAULT_CASES: usize = 4_000;
/// Cases of one query, taken from more documents so that about half of them are found.
const PER_QUERY: usize = 4;
const DOCUMENTS: usize = 16;

#[test]
fn queries_find_what_the_references_find() {
    let wanted = std::env::var("TIDEGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(DEFAULT_CASES);
    let cases = cases(wanted);
    let lines: Vec<String> =
        cases.iter().map(|case| format!("{{\"document\":{},\"query\":{}}}", case.document_text, case.query_text)).collect();
    let folder = process::install();
    let references = [(Reference::Mingo, process::mingo(&folder)), (Reference::Monty, process::monty(&folder))];
    let answers: Vec<(Reference, Vec<Answer>)> =
        references.into_iter().map(|(reference, command)| (reference, process::ask(command, &lines))).collect();

    let mut excused: BTreeMap<(Reference, &str), usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut without_judge = 0;
    for (at, case) in cases.iter().enumerate() {
        let mut agreeing = 0;
        for (reference, answers) in &answers {
            if answers[at] == Answer::Matches(case.ours) {
                agreeing += 1;
                continue;
            }
            match EXEMPTIONS.iter().find(|exemption| exemption.reference == *reference && (exemption.applies)(case)) {
                Some(exemption) => *excused.entry((*reference, exemption.class)).or_default() += 1,
                None => unexplained.push(format!(
                    "{reference:?} says {:?}, we say {}: {} on {}",
                    answers[at], case.ours, case.query_text, case.document_text
                )),
            }
        }
        without_judge += usize::from(agreeing == 0);
    }

    let found = cases.iter().filter(|case| case.ours).count();
    println!("{} cases, {found} found; {without_judge} with no reference to judge them", cases.len());
    for ((_, class), count) in &excused {
        println!("  {count:>6}  {class}");
    }
    unexplained.sort_by_key(String::len);
    let shown = unexplained.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(unexplained.is_empty(), "{} answers differ for no known reason:\n{shown}", unexplained.len());
    assert!(found * 5 > cases.len(), "too few queries find anything for the comparison to mean much: {found}");
    let share = |count: usize| count as f64 / cases.len() as f64;
    assert!(share(without_judge) < 0.025, "{without_judge} cases are judged by no reference");
    for (reference, _) in &answers {
        let total: usize = excused.iter().filter(|((own, _), _)| own == reference).map(|(_, count)| count).sum();
        assert!(share(total) < 0.10, "{total} answers of {reference:?} were excused");
    }
}

fn cases(wanted: usize) -> Vec<Case> {
    let mut cases = Vec::with_capacity(wanted + PER_QUERY);
    for seed in 0.. {
        if cases.len() >= wanted {
            break;
        }
        let mut generator = Generator::without_geo(seed);
        let documents: Vec<String> = (0..DOCUMENTS).map(|_| generator.document()).collect();
        let query = generator.query();
        let filter = Filter::parse(&query, &QueryLimits::default()).unwrap_or_else(|error| panic!("{query}: {error}"));
        let matches = |json: &String| {
            filter.matches(&Document::parse(Bytes::from(json.clone()), &DateFields::default(), DocumentLimits::default()).unwrap())
        };
        let judged: Vec<(String, bool)> =
            documents.into_iter().map(|json| (matches(&json), json)).map(|(ours, json)| (json, ours)).collect();
        // Queries that find nothing or everything are judged, too, but not as often as chance makes them.
        if seed % 4 > 0 && judged.iter().all(|(_, ours)| *ours == judged[0].1) {
            continue;
        }
        let mut left = [PER_QUERY / 2; 2];
        for (json, ours) in judged {
            if left[usize::from(ours)] > 0 {
                left[usize::from(ours)] -= 1;
                cases.push(Case {
                    query: serde_json::from_str(&query).unwrap(),
                    document: serde_json::from_str(&json).unwrap(),
                    query_text: query.clone(),
                    document_text: json,
                    ours,
                });
            }
        }
    }
    cases
}
