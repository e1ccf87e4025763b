//! Topics of other producers: record -> what it means -> a transaction of the store.
//!
//! * [`meaning`]: what a record means for a bucket, whatever its format

pub mod meaning;
