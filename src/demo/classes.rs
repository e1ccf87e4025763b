//! The classes of the auction house, and what its console page may say about them.
//!
//! The page knows nothing of auctions: a class tells it in its metadata, under `console`, which columns to
//! show, which queries to offer and which field a visitor may raise. See `console::HINTS`.

use super::auction::{BID, BIDDER, LOT};
use serde_json::{Map, Value, json};

/// The classes as `POST /schema` takes them.
pub fn classes() -> Value {
    json!([lot(), bid(), bidder()])
}

fn lot() -> Value {
    let fields = [
        ("number", "Integer"),
        ("title", "String"),
        ("category", "String"),
        ("city", "String"),
        ("state", "String"),
        ("price", "Integer"),
        ("bids", "Integer"),
        ("leader", "String"),
        ("estimate", "Integer"),
        ("closesAt", "DateTime"),
        ("tags", "collection.List[/db/String]"),
        ("condition", "JsonObject"),
        ("location", "GeoPoint"),
        ("listedAt", "DateTime"),
    ];
    let hints = json!({
        "about": "What is for sale, and what it is at",
        "columns": ["title", "category", "city", "price", "bids", "leader", "state", "closesAt", "tags"],
        "raise": {"field": "price", "label": "Bid", "count": "bids", "by": {"leader": "You"}},
        "examples": [
            {"label": "Open in Paris", "kind": "equality", "query": {"city": "Paris", "state": "open"}},
            {"label": "From 1,000 to under 2,000 euros", "kind": "range", "query": {"price": {"$gte": 1000, "$lt": 2000}, "state": "open"}},
            {"label": "Hot: six bids or more", "kind": "range", "query": {"bids": {"$gte": 6}, "state": "open"}},
            {"label": "Watches and cameras under 500", "kind": "$in", "query": {"category": {"$in": ["Watches", "Cameras"]}, "price": {"$lt": 500}}},
            {"label": "Anything of gold", "kind": "regex", "query": {"title": {"$regex": "^Gold "}}},
            {"label": "Rare with provenance", "kind": "array", "query": {"tags": {"$all": ["rare", "provenance"]}}},
            {"label": "Mint, never restored", "kind": "nested", "query": {"condition.grade": "mint", "condition.restored": false}},
            {"label": "Within 350 km of Brussels", "kind": "geo", "query": {"location": {"$geoWithin": {"$centerSphere": [[4.35, 50.85], 0.055]}}, "bids": {"$gte": 3}}},
            {"label": "Tokyo, or maps of anywhere", "kind": "$or", "query": {"$or": [{"city": "Tokyo"}, {"category": "Maps"}], "state": "open"}},
            {"label": "Just sold", "kind": "state", "query": {"state": "sold"}},
        ],
    });
    class(LOT, &fields, &hints)
}

fn bid() -> Value {
    let fields = [
        ("lot", LOT),
        ("amount", "Integer"),
        ("bidder", BIDDER),
        ("name", "String"),
        ("city", "String"),
        ("placedAt", "DateTime"),
        ("channel", "String"),
    ];
    let hints = json!({
        "about": "Every bid as it is placed",
        "columns": ["amount", "name", "city", "channel", "lot", "placedAt"],
        "examples": [
            {"label": "Above 5,000 euros", "kind": "range", "query": {"amount": {"$gt": 5000}}},
            {"label": "From London, by phone", "kind": "equality", "query": {"city": "London", "channel": "phone"}},
            {"label": "By a Moreau or an Ito", "kind": "regex", "query": {"name": {"$regex": "(Moreau|Ito)$"}}},
            {"label": "In the room, not in Paris", "kind": "$ne", "query": {"channel": "room", "city": {"$ne": "Paris"}}},
        ],
    });
    class(BID, &fields, &hints)
}

fn bidder() -> Value {
    let fields = [
        ("name", "String"),
        ("city", "String"),
        ("limit", "Integer"),
        ("interests", "collection.List[/db/String]"),
        ("verified", "Boolean"),
    ];
    let hints = json!({
        "about": "Who bids",
        "columns": ["name", "city", "limit", "interests", "verified"],
        "examples": [
            {"label": "Collectors of maps", "kind": "array", "query": {"interests": "Maps"}},
            {"label": "With 200,000 euros or more", "kind": "range", "query": {"limit": {"$gte": 200000}}},
            {"label": "Not verified yet", "kind": "equality", "query": {"verified": false}},
        ],
    });
    class(BIDDER, &fields, &hints)
}

fn class(bucket: &str, fields: &[(&str, &str)], hints: &Value) -> Value {
    let fields: Map<String, Value> = fields
        .iter()
        .enumerate()
        .map(|(order, (name, kind))| ((*name).to_owned(), json!({"name": name, "type": format!("/db/{kind}"), "order": order + 1})))
        .collect();
    json!({
        "class": format!("/db/{bucket}"),
        "superClass": "/db/Object",
        "fields": fields,
        "metadata": {"console": hints.to_string()},
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::demo::auction::{Auction, Plan, What};
    use std::collections::HashSet;

    #[test]
    fn every_field_of_the_objects_is_declared() {
        let classes = classes();
        let declared = |bucket: &str| -> HashSet<String> {
            let class = classes.as_array().unwrap().iter().find(|class| class["class"] == format!("/db/{bucket}")).unwrap();
            class["fields"].as_object().unwrap().keys().cloned().collect()
        };
        let mut house = Auction::new(Plan::level(20, 10), 1);
        let mut updates = house.open_doors(0);
        updates.extend((0..100).map(|turn| house.next(turn)));
        for update in updates {
            let known = declared(update.bucket);
            match update.what {
                What::Insert(fields) => assert_eq!(fields.keys().cloned().collect::<HashSet<_>>(), known, "{}", update.bucket),
                What::Change(fields) => assert!(fields.keys().all(|field| known.contains(field))),
                What::Remove => {}
            }
        }
    }

    #[test]
    fn the_hints_name_fields_that_there_are() {
        for class in classes().as_array().unwrap() {
            let hints: Value = serde_json::from_str(class["metadata"]["console"].as_str().unwrap()).unwrap();
            for column in hints["columns"].as_array().unwrap() {
                assert!(class["fields"].get(column.as_str().unwrap()).is_some(), "{column}");
            }
            for example in hints["examples"].as_array().unwrap() {
                dataflows::query::parse(&example["query"].to_string(), &dataflows::query::QueryLimits::default()).unwrap();
            }
        }
    }
}
