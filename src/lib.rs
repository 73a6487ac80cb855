//! fing
