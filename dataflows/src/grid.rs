//! Which worker has which queries and which changes.
//!
//! The workers are laid on a grid of R rows and C columns. A change goes to every worker of one row, a
//! query to every worker of one column; so each pair of change and query meets on exactly one worker.
//! Rows add write capacity, columns add query capacity. All changes of one object go to one row, so a
//! worker sees the states of an object in commit order.

use crate::delta::QueryId;
use std::hash::{BuildHasher, Hasher};

/// The shape of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    rows: usize,
    columns: usize,
}

impl Grid {
    /// A grid of so many workers with so many columns; columns that the workers cannot fill evenly are
    /// cut down to the next number that they can.
    pub fn new(workers: usize, columns: usize) -> Grid {
        let workers = workers.max(1);
        let columns = (1..=columns.clamp(1, workers)).rev().find(|columns| workers.is_multiple_of(*columns)).unwrap_or(1);
        Grid { rows: workers / columns, columns }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The workers that a change of this object goes to.
    pub fn workers_of_object(&self, app: &str, id: &str) -> impl Iterator<Item = usize> + use<> {
        let row = if self.rows == 1 {
            0
        } else {
            // Fixed keys: every process of a cluster must place an object alike.
            let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
            hasher.write(app.as_bytes());
            hasher.write_u8(0);
            hasher.write(id.as_bytes());
            (hasher.finish() % self.rows as u64) as usize
        };
        let columns = self.columns;
        (0..columns).map(move |column| row * columns + column)
    }

    /// The workers that hold this query.
    pub fn workers_of_query(&self, query: QueryId) -> impl Iterator<Item = usize> + use<> {
        let (columns, column) = (self.columns, (query.0 % self.columns as u64) as usize);
        (0..self.rows).map(move |row| row * columns + column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_meets_every_query_on_exactly_one_worker() {
        for (workers, columns) in [(1, 1), (2, 1), (2, 2), (6, 3), (5, 2), (4, 9)] {
            let grid = Grid::new(workers, columns);
            assert_eq!(grid.rows() * grid.columns(), workers);
            for object in 0..50 {
                let of_object: Vec<usize> = grid.workers_of_object("app", &format!("/db/a/{object}")).collect();
                for query in 0..20 {
                    let meet = grid.workers_of_query(QueryId(query)).filter(|worker| of_object.contains(worker)).count();
                    assert_eq!(meet, 1, "{workers} workers, {columns} columns");
                }
            }
        }
    }
}
