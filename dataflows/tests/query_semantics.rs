//! The rules of MongoDB's manual and of its traversal of paths, one by one, with examples of our own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use dataflows::document::{DateField, DateFields, Document, DocumentLimits};
use dataflows::query::{Filter, QueryLimits};

fn document(json: &str) -> Document {
    Document::parse(Bytes::copy_from_slice(json.as_bytes()), &DateFields::default(), DocumentLimits::default()).unwrap()
}

/// The query finds the first documents and not the second ones.
#[track_caller]
fn check(query: &str, found: &[&str], passed_over: &[&str]) {
    let filter = Filter::parse(query, &QueryLimits::default()).unwrap_or_else(|error| panic!("{query}: {error}"));
    for json in found {
        assert!(filter.matches(&document(json)), "{query} must find {json}");
    }
    for json in passed_over {
        assert!(!filter.matches(&document(json)), "{query} must not find {json}");
    }
}

#[test]
fn equality_is_by_value_and_reaches_into_arrays() {
    check(r#"{"a":1}"#, &[r#"{"a":1}"#, r#"{"a":1.0}"#, r#"{"a":[2,1]}"#], &[r#"{"a":"1"}"#, r#"{"a":[[1]]}"#, r#"{"a":true}"#, "{}"]);
    check(r#"{"a":1.0}"#, &[r#"{"a":1}"#], &[r#"{"a":1.5}"#]);
    check(r#"{"a":9007199254740993}"#, &[r#"{"a":9007199254740993}"#], &[r#"{"a":9007199254740992}"#, r#"{"a":9007199254740992.0}"#]);
    check(r#"{"a":{"$eq":"x"}}"#, &[r#"{"a":"x"}"#, r#"{"a":["y","x"]}"#], &[r#"{"a":"X"}"#]);
    check(r#"{"a":[1,2]}"#, &[r#"{"a":[1,2]}"#, r#"{"a":[0,[1,2]]}"#], &[r#"{"a":[2,1]}"#, r#"{"a":[1,2,3]}"#, r#"{"a":1}"#]);
    check(r#"{"a":[]}"#, &[r#"{"a":[]}"#, r#"{"a":[[]]}"#], &[r#"{"a":[1]}"#, r#"{"a":null}"#, "{}"]);
    check("{}", &["{}", r#"{"a":1}"#], &[]);
}

#[test]
fn whole_objects_are_equal_with_the_same_fields_in_the_same_order() {
    let found = [r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1.0,"c":2}}"#, r#"{"a":[{"b":1,"c":2}]}"#];
    check(r#"{"a":{"b":1,"c":2}}"#, &found, &[r#"{"a":{"c":2,"b":1}}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2,"d":3}}"#]);
    check(r#"{"a":{}}"#, &[r#"{"a":{}}"#], &[r#"{"a":{"b":1}}"#, r#"{"a":null}"#, "{}"]);
}

#[test]
fn null_equals_missing() {
    check(r#"{"a":null}"#, &[r#"{"a":null}"#, "{}", r#"{"a":[1,null]}"#], &[r#"{"a":0}"#, r#"{"a":[]}"#, r#"{"a":""}"#]);
    check(r#"{"a":{"$ne":null}}"#, &[r#"{"a":0}"#, r#"{"a":[]}"#], &["{}", r#"{"a":null}"#, r#"{"a":[null]}"#]);
    check(r#"{"a":{"$in":[null,3]}}"#, &["{}", r#"{"a":3}"#, r#"{"a":null}"#], &[r#"{"a":4}"#]);
    check(r#"{"a":{"$exists":true}}"#, &[r#"{"a":null}"#, r#"{"a":[]}"#], &["{}"]);
    check(r#"{"a":{"$exists":false}}"#, &["{}"], &[r#"{"a":null}"#]);
}

#[test]
fn negations_match_missing_fields() {
    check(r#"{"a":{"$ne":1}}"#, &["{}", r#"{"a":2}"#, r#"{"a":"1"}"#, r#"{"a":[2]}"#], &[r#"{"a":1}"#, r#"{"a":[2,1]}"#]);
    check(r#"{"a":{"$nin":[1,2]}}"#, &["{}", r#"{"a":3}"#, r#"{"a":[3,4]}"#], &[r#"{"a":[3,2]}"#, r#"{"a":1}"#]);
    check(r#"{"a":{"$not":{"$gt":5}}}"#, &["{}", r#"{"a":5}"#, r#"{"a":"x"}"#], &[r#"{"a":6}"#, r#"{"a":[1,6]}"#]);
    check(r#"{"a":{"$not":{"$gt":1,"$lt":5}}}"#, &["{}", r#"{"a":7}"#], &[r#"{"a":3}"#, r#"{"a":[0,9]}"#]);
    check(r#"{"a":{"$not":{"$regex":"^x"}}}"#, &["{}", r#"{"a":"y"}"#, r#"{"a":1}"#], &[r#"{"a":"xy"}"#]);
    check(r#"{"$nor":[{"a":1},{"b":2}]}"#, &["{}", r#"{"a":2}"#], &[r#"{"a":1}"#, r#"{"b":2}"#]);
    check(r#"{"a":{"$nin":[]}}"#, &["{}", r#"{"a":1}"#], &[]);
    check(r#"{"a":{"$in":[]}}"#, &[], &["{}", r#"{"a":1}"#, r#"{"a":[]}"#]);
}

#[test]
fn comparisons_stay_within_their_type() {
    check(
        r#"{"a":{"$gt":5}}"#,
        &[r#"{"a":5.5}"#, r#"{"a":[1,6]}"#],
        &[r#"{"a":5}"#, r#"{"a":"6"}"#, r#"{"a":null}"#, r#"{"a":{"$date":9}}"#, "{}"],
    );
    check(r#"{"a":{"$lte":5}}"#, &[r#"{"a":5}"#, r#"{"a":-1e300}"#], &[r#"{"a":null}"#, r#"{"a":false}"#, "{}"]);
    check(r#"{"a":{"$gte":null}}"#, &[r#"{"a":null}"#, "{}"], &[r#"{"a":1}"#]);
    check(r#"{"a":{"$gt":null}}"#, &[], &[r#"{"a":null}"#, "{}", r#"{"a":1}"#]);
    check(r#"{"a":{"$gt":false}}"#, &[r#"{"a":true}"#], &[r#"{"a":false}"#, r#"{"a":1}"#]);
    check(r#"{"a":{"$lt":"b"}}"#, &[r#"{"a":"a"}"#, r#"{"a":"B"}"#, r#"{"a":""}"#], &[r#"{"a":"b"}"#, r#"{"a":1}"#]);
    check(
        r#"{"a":{"$gt":[1,2]}}"#,
        &[r#"{"a":[1,3]}"#, r#"{"a":[1,2,0]}"#, r#"{"a":["x"]}"#],
        &[r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, r#"{"a":5}"#],
    );
    check(
        r#"{"a":{"$gt":{"b":1}}}"#,
        &[r#"{"a":{"b":2}}"#, r#"{"a":{"c":0}}"#, r#"{"a":{"b":"x"}}"#],
        &[r#"{"a":{"b":1}}"#, r#"{"a":{}}"#],
    );
    // Each bound may hold for an element of its own.
    check(r#"{"a":{"$gt":5,"$lt":3}}"#, &[r#"{"a":[1,9]}"#], &[r#"{"a":4}"#, r#"{"a":[4]}"#]);
}

#[test]
fn dates_are_instants_and_never_strings() {
    let noon = r#"{"a":{"$date":"2020-01-02T12:00:00Z"}}"#;
    check(
        noon,
        &[r#"{"a":{"$date":"2020-01-02T13:00:00+01:00"}}"#, r#"{"a":{"$date":1577966400000}}"#],
        &[r#"{"a":"2020-01-02T12:00:00Z"}"#, r#"{"a":1577966400000}"#],
    );
    check(r#"{"a":{"$gt":{"$date":0}}}"#, &[r#"{"a":{"$date":1}}"#], &[r#"{"a":1}"#, r#"{"a":"2020-01-02T12:00:00Z"}"#]);
    check(r#"{"a":{"$in":[{"$date":5},7]}}"#, &[r#"{"a":[{"$date":5}]}"#, r#"{"a":7}"#], &[r#"{"a":5}"#]);
    check(r#"{"a":{"b":{"$date":5}}}"#, &[r#"{"a":{"b":{"$date":5}}}"#], &[r#"{"a":{"b":5}}"#]);

    let dates = DateFields::new(vec![("at".into(), DateField::Date)]);
    let declared = Document::parse(Bytes::from_static(br#"{"at":"1970-01-01T00:00:01Z"}"#), &dates, DocumentLimits::default()).unwrap();
    let filter = |query: &str| Filter::parse(query, &QueryLimits::default()).unwrap();
    assert!(filter(r#"{"at":{"$date":1000}}"#).matches(&declared));
    assert!(!filter(r#"{"at":"1970-01-01T00:00:01Z"}"#).matches(&declared));
}

#[test]
fn paths_go_through_objects_and_arrays() {
    check(
        r#"{"a.b":1}"#,
        &[r#"{"a":{"b":1}}"#, r#"{"a":[{"c":0},{"b":1}]}"#, r#"{"a":[{"b":[0,1]}]}"#],
        &[r#"{"a":[[{"b":1}]]}"#, r#"{"a.b":1}"#, r#"{"a":1}"#],
    );
    check(
        r#"{"a.b":null}"#,
        &["{}", r#"{"a":5}"#, r#"{"a":{}}"#, r#"{"a":[{}]}"#, r#"{"a":[{"b":1},{}]}"#],
        &[r#"{"a":[]}"#, r#"{"a":[1]}"#, r#"{"a":[{"b":1}]}"#],
    );
    check(r#"{"a.b":{"$exists":false}}"#, &["{}", r#"{"a":[]}"#, r#"{"a":[1]}"#, r#"{"a":[{}]}"#], &[r#"{"a":[{"b":1},{}]}"#]);
    check(r#"{"a.b":{"$ne":1}}"#, &[r#"{"a":[]}"#, r#"{"a":[{"b":2}]}"#], &[r#"{"a":[{"b":2},{"b":1}]}"#]);
    check(r#"{"a.b.c":1}"#, &[r#"{"a":[{"b":[{"c":1}]}]}"#], &[r#"{"a":[{"b":[[{"c":1}]]}]}"#]);
}

#[test]
fn a_number_in_a_path_is_a_position_or_a_name() {
    check(r#"{"a.1":7}"#, &[r#"{"a":[5,7]}"#, r#"{"a":{"1":7}}"#, r#"{"a":[{"1":7}]}"#], &[r#"{"a":[7,5]}"#, r#"{"a":[5,[7]]}"#]);
    check(r#"{"a.1":[7]}"#, &[r#"{"a":[5,[7]]}"#], &[r#"{"a":[[7],5]}"#]);
    check(r#"{"a.1.b":4}"#, &[r#"{"a":[5,{"b":4}]}"#, r#"{"a":[5,[{"b":4}]]}"#, r#"{"a":[5,{"b":[4]}]}"#], &[r#"{"a":[{"b":4},5]}"#]);
    check(r#"{"a.0.0":1}"#, &[r#"{"a":[[1]]}"#, r#"{"a":[{"0":1}]}"#], &[r#"{"a":[1]}"#, r#"{"a":[[[1]]]}"#]);
    check(r#"{"a.0":null}"#, &["{}", r#"{"a":[null]}"#, r#"{"a":5}"#, r#"{"a":[{}]}"#], &[r#"{"a":[]}"#, r#"{"a":[1]}"#]);
    check(r#"{"a.1":{"$exists":true}}"#, &[r#"{"a":[0,0]}"#], &[r#"{"a":[0]}"#]);
    check(r#"{"a.01":7}"#, &[r#"{"a":{"01":7}}"#], &[r#"{"a":[5,7]}"#]);
}

#[test]
fn operators_on_arrays() {
    check(r#"{"a":{"$size":2}}"#, &[r#"{"a":[1,2]}"#], &[r#"{"a":[1]}"#, r#"{"a":[[1,2]]}"#, r#"{"a":2}"#, "{}"]);
    check(r#"{"a":{"$all":[1,2]}}"#, &[r#"{"a":[2,3,1]}"#], &[r#"{"a":[1]}"#, r#"{"a":1}"#]);
    check(r#"{"a":{"$all":[1]}}"#, &[r#"{"a":1}"#, r#"{"a":[1]}"#], &["{}"]);
    check(r#"{"a":{"$all":[[1,2]]}}"#, &[r#"{"a":[1,2]}"#, r#"{"a":[[1,2]]}"#], &[r#"{"a":[2,1]}"#]);
    check(r#"{"a":{"$all":[]}}"#, &[], &["{}", r#"{"a":[]}"#, r#"{"a":1}"#]);
    check(
        r#"{"a":{"$all":[{"$elemMatch":{"b":1,"c":1}},{"$elemMatch":{"b":2}}]}}"#,
        &[r#"{"a":[{"b":2},{"b":1,"c":1}]}"#],
        &[r#"{"a":[{"b":1,"c":1}]}"#],
    );
}

#[test]
fn elem_match_wants_one_element_for_all_conditions() {
    check(r#"{"a":{"$elemMatch":{"$gt":5,"$lt":8}}}"#, &[r#"{"a":[1,6]}"#], &[r#"{"a":[1,9]}"#, r#"{"a":6}"#, r#"{"a":[[6]]}"#]);
    check(
        r#"{"a":{"$elemMatch":{"b":1,"c":2}}}"#,
        &[r#"{"a":[{"b":1,"c":2}]}"#],
        &[r#"{"a":[{"b":1},{"c":2}]}"#, r#"{"a":{"b":1,"c":2}}"#],
    );
    check(r#"{"a":{"$elemMatch":{"b":null}}}"#, &[r#"{"a":[{}]}"#, r#"{"a":[[]]}"#], &[r#"{"a":[1]}"#, r#"{"a":[]}"#]);
    check(r#"{"a":{"$elemMatch":{"0":1}}}"#, &[r#"{"a":[[1]]}"#, r#"{"a":[{"0":1}]}"#], &[r#"{"a":[1]}"#]);
    check(r#"{"a":{"$elemMatch":{}}}"#, &[r#"{"a":[{}]}"#, r#"{"a":[[]]}"#], &[r#"{"a":[1]}"#, r#"{"a":[]}"#]);
    check(r#"{"a":{"$elemMatch":{"$ne":1}}}"#, &[r#"{"a":[1,2]}"#], &[r#"{"a":[1]}"#, r#"{"a":[]}"#, "{}"]);
    check(r#"{"a":{"$elemMatch":{"$nin":[]}}}"#, &[r#"{"a":[1]}"#], &[r#"{"a":[]}"#, "{}"]);
    check(r#"{"a":{"$elemMatch":{"$elemMatch":{"$eq":1}}}}"#, &[r#"{"a":[[1]]}"#], &[r#"{"a":[1]}"#]);
    check(r#"{"a":{"$elemMatch":{"$or":[{"b":1},{"c":1}]}}}"#, &[r#"{"a":[{"c":1}]}"#], &[r#"{"a":[{"d":1}]}"#]);
    check(r#"{"a":{"$elemMatch":{"$or":[{"$lt":1},{"$gt":8}]}}}"#, &[r#"{"a":[5,9]}"#], &[r#"{"a":[5]}"#]);
    check(r#"{"a.b":{"$elemMatch":{"$eq":1}}}"#, &[r#"{"a":[{"b":[1]}]}"#], &[r#"{"a":[{"b":1}]}"#]);
    check(r#"{"a":{"$not":{"$elemMatch":{"b":1}}}}"#, &["{}", r#"{"a":[{"b":2}]}"#], &[r#"{"a":[{"b":1}]}"#]);
}

#[test]
fn mod_cuts_towards_zero() {
    check(
        r#"{"a":{"$mod":[4,1]}}"#,
        &[r#"{"a":5}"#, r#"{"a":5.9}"#, r#"{"a":[2,9]}"#],
        &[r#"{"a":4}"#, r#"{"a":"5"}"#, "{}", r#"{"a":1e300}"#],
    );
    check(r#"{"a":{"$mod":[4,-1]}}"#, &[r#"{"a":-5}"#, r#"{"a":-5.5}"#], &[r#"{"a":5}"#, r#"{"a":3}"#]);
    check(r#"{"a":{"$mod":[-4.7,1.2]}}"#, &[r#"{"a":5}"#], &[r#"{"a":-5}"#]);
    check(r#"{"a":{"$mod":[-1,0]}}"#, &[r#"{"a":-9223372036854775808}"#], &[]);
}

#[test]
fn types_by_name_and_number() {
    check(r#"{"a":{"$type":"int"}}"#, &[r#"{"a":1}"#, r#"{"a":[1]}"#], &[r#"{"a":2147483648}"#, r#"{"a":1.5}"#, "{}"]);
    check(r#"{"a":{"$type":18}}"#, &[r#"{"a":2147483648}"#], &[r#"{"a":1}"#, r#"{"a":1e30}"#]);
    check(r#"{"a":{"$type":["double","null"]}}"#, &[r#"{"a":1.5}"#, r#"{"a":null}"#], &["{}", r#"{"a":1}"#]);
    check(r#"{"a":{"$type":"number"}}"#, &[r#"{"a":1.5}"#, r#"{"a":1}"#, r#"{"a":1e30}"#], &[r#"{"a":"1"}"#]);
    check(r#"{"a":{"$type":"array"}}"#, &[r#"{"a":[]}"#, r#"{"a":[[1]]}"#], &[r#"{"a":1}"#]);
    check(r#"{"a":{"$type":"date"}}"#, &[r#"{"a":{"$date":1}}"#], &[r#"{"a":{"b":1}}"#]);
    check(r#"{"a":{"$type":3}}"#, &[r#"{"a":{}}"#, r#"{"a":[{}]}"#], &[r#"{"a":[]}"#, r#"{"a":{"$date":1}}"#]);
    check(r#"{"a":{"$type":["bool",2]}}"#, &[r#"{"a":false}"#, r#"{"a":""}"#], &[r#"{"a":0}"#]);
}

#[test]
fn regular_expressions() {
    check(
        r#"{"a":{"$regex":"^ab"}}"#,
        &[r#"{"a":"abc"}"#, r#"{"a":["x","ab"]}"#],
        &[r#"{"a":"cab"}"#, r#"{"a":"x\nab"}"#, r#"{"a":1}"#, "{}"],
    );
    check(r#"{"a":{"$regex":"^ab","$options":"m"}}"#, &[r#"{"a":"x\nab"}"#], &[]);
    check(r#"{"a":{"$options":"i","$regex":"ÄB"}}"#, &[r#"{"a":"äb"}"#], &[]);
    check(r#"{"a":{"$regex":"a.b"}}"#, &[r#"{"a":"a-b"}"#, r#"{"a":"aöb"}"#], &[r#"{"a":"a\nb"}"#]);
    check(r#"{"a":{"$regex":"a.b","$options":"s"}}"#, &[r#"{"a":"a\nb"}"#], &[]);
    check(r#"{"a":{"$regex":"a b # c","$options":"x"}}"#, &[r#"{"a":"ab"}"#], &[r#"{"a":"a b"}"#]);
    // The classes are those of ASCII, also within brackets.
    check(r#"{"a":{"$regex":"^[\\d_]\\w\\W$"}}"#, &[r#"{"a":"1aä"}"#, r#"{"a":"_9 "}"#], &[r#"{"a":"٣aä"}"#, r#"{"a":"1ä "}"#]);
    check(r#"{"a":{"$regex":"\\bb"}}"#, &[r#"{"a":"äb"}"#], &[r#"{"a":"ab"}"#]);
    check(r#"{"a":{"$regex":"a","$ne":"a"}}"#, &[r#"{"a":"ba"}"#], &[r#"{"a":"a"}"#]);
}

#[test]
fn points_within_shapes() {
    let square = r#"{"p":{"$geoWithin":{"$geometry":{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]],[[4,4],[6,4],[6,6],[4,6],[4,4]]]}}}}"#;
    let found = [
        r#"{"p":{"latitude":1,"longitude":2}}"#,
        r#"{"p":{"type":"Point","coordinates":[10,5]}}"#,
        r#"{"p":[0,0]}"#,
        r#"{"p":[[50,50],[3,3]]}"#,
        r#"{"p":[4,5]}"#,
    ];
    check(
        square,
        &found,
        &[r#"{"p":[5,5]}"#, r#"{"p":[11,5]}"#, r#"{"p":[-0.001,5]}"#, "{}", r#"{"p":[1]}"#, r#"{"p":"x"}"#, r#"{"p":{"latitude":1}}"#],
    );
    check(r#"{"p":{"$geoWithin":{"$box":[[10,10],[0,0]]}}}"#, &[r#"{"p":[10,0]}"#], &[r#"{"p":[10.1,0]}"#]);
    check(r#"{"p":{"$geoWithin":{"$polygon":[[0,0],[10,0],[5,10]]}}}"#, &[r#"{"p":[5,9]}"#, r#"{"p":[2.5,5]}"#], &[r#"{"p":[1,9]}"#]);
    check(r#"{"p":{"$geoWithin":{"$centerSphere":[[0,0],0.0175]}}}"#, &[r#"{"p":[1,0]}"#], &[r#"{"p":[1,1]}"#]);
}

#[test]
fn points_near_a_point() {
    let hamburg = |inside: &str, beside: &str| {
        format!(r#"{{"p":{{"$nearSphere":{{"$geometry":{{"type":"Point","coordinates":[9.99,53.55]}}{inside}}}{beside}}}}}"#)
    };
    let (bremen, berlin) = (r#"{"p":{"latitude":53.08,"longitude":8.8}}"#, r#"{"p":{"latitude":52.52,"longitude":13.4}}"#);
    check(&hamburg(r#","$maxDistance":100000"#, ""), &[bremen], &[berlin, "{}"]);
    check(&hamburg("", r#","$maxDistance":100000"#), &[bremen], &[berlin]);
    check(&hamburg("", ""), &[bremen, berlin], &["{}"]);
    // Across the antimeridian.
    check(
        r#"{"p":{"$nearSphere":{"$geometry":{"type":"Point","coordinates":[179.9,0]},"$maxDistance":30000}}}"#,
        &[r#"{"p":[-179.9,0]}"#],
        &[],
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    let refused = |query: &str| Filter::parse(query, &QueryLimits::default()).map(|_| ()).expect_err(query);
    for (query, code, words) in [
        ("", "query-syntax", ""),
        ("[]", "query-syntax", "object of conditions"),
        (r#"{"a":1,"a":2}"#, "query-syntax", "twice"),
        (r#"{"a":{"b":1,"b":1}}"#, "query-syntax", "twice"),
        (r#"{"a":{"$foo":1}}"#, "query-operator", "$foo is not supported at \"a\""),
        (r#"{"$where":"1"}"#, "query-operator", "$where"),
        (r#"{"a.b":{"$elemMatch":{"c":{"$near":1}}}}"#, "query-operator", "$near is not supported at \"a.b.c\""),
        (r#"{"a":{"b":{"$gt":1}}}"#, "query-operator", "$gt"),
        (r#"{"a":{"$in":[{"$regex":"x"}]}}"#, "query-operator", "$regex"),
        (r#"{"a":{"$in":1}}"#, "query-syntax", "$in takes an array"),
        (r#"{"a":{"$gt":1,"b":2}}"#, "query-syntax", "\"b\""),
        (r#"{"$or":[]}"#, "query-syntax", "non-empty"),
        (r#"{"a":{"$or":[{"$gt":1}]}}"#, "query-operator", "$or"),
        (r#"{"a":{"$not":{}}}"#, "query-syntax", "$not"),
        (r#"{"a":{"$not":1}}"#, "query-syntax", "$ne"),
        (r#"{"a":{"$mod":[0,1]}}"#, "query-syntax", "zero"),
        (r#"{"a":{"$size":-1}}"#, "query-syntax", "$size"),
        (r#"{"a":{"$size":1.5}}"#, "query-syntax", "$size"),
        (r#"{"a":{"$type":"objectId"}}"#, "query-syntax", "$type"),
        (r#"{"a":{"$options":"i"}}"#, "query-operator", "$regex"),
        (r#"{"a":{"$regex":"a","$options":"u"}}"#, "query-regex", "option"),
        (r#"{"a":{"$regex":"(?=a)"}}"#, "query-regex", "look-around"),
        (r#"{"a":{"$regex":"(a)\\1"}}"#, "query-regex", "back-references"),
        (r#"{"a":{"$regex":"[a&&b]"}}"#, "query-regex", "&&"),
        (r#"{"a":{"$regex":"a++"}}"#, "query-regex", "possessive"),
        (r#"{"a":{"$regex":"(?-u:a)"}}"#, "query-regex", "flags"),
        (r#"{"a":{"$regex":"(a{100}){100}"}}"#, "query-regex", "larger"),
        (r#"{"a":{"$date":"tomorrow"}}"#, "query-syntax", "$date"),
        (r#"{"a":{"$geoWithin":{"$center":[[0,0],1]}}}"#, "query-operator", "$center"),
        (r#"{"a":{"$nearSphere":[0,0]}}"#, "query-syntax", "$nearSphere"),
        (r#"{"a.0.0.0.0.0.0.0.0.0":1}"#, "query-too-large", "positions"),
    ] {
        let error = refused(query);
        assert_eq!(error.code(), code, "{query}: {error}");
        assert!(error.to_string().contains(words), "{query}: {error}");
    }
}

#[test]
fn limits_hold() {
    let limits = QueryLimits { bytes: 300_000, depth: 5, nodes: 6_000, ..QueryLimits::default() };
    let parse = |query: &str| Filter::parse(query, &limits).map(|_| ()).map_err(|error| error.code());
    let list =
        |length: usize| format!(r#"{{"a":{{"$in":[{}]}}}}"#, (0..length).map(|n| format!("\"id{n}\"")).collect::<Vec<_>>().join(","));
    assert_eq!(parse(&list(5_000)), Ok(()));
    assert_eq!(parse(&list(7_000)), Err("query-too-large"));
    assert_eq!(parse(&format!(r#"{{"a":"{}"}}"#, "x".repeat(300_000))), Err("query-too-large"));
    let nested = |depth: usize| format!("{}{}{}", r#"{"$and":["#.repeat(depth), r#"{"a":1}"#, "]}".repeat(depth));
    assert_eq!(parse(&nested(5)), Ok(()));
    assert_eq!(parse(&nested(6)), Err("query-too-deep"));
    assert_eq!(parse(&nested(500)), Err("query-too-deep"));
    assert_eq!(parse(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(30), "]".repeat(30))), Err("query-too-deep"));
    let regexes = |count: usize| format!(r#"{{"$or":[{}]}}"#, vec![r#"{"a":{"$regex":"x"}}"#; count].join(","));
    assert_eq!(parse(&regexes(32)), Ok(()));
    assert_eq!(parse(&regexes(33)), Err("query-too-large"));
}
