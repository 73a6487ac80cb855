//! The examples of C libraries print what they should.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "../examples/qsort.rs"]
#[expect(dead_code, reason = "its main function only prints")]
mod qsort;
#[path = "../examples/sqlite.rs"]
#[expect(dead_code, reason = "its main function only prints")]
mod sqlite;

#[test]
fn qsort_sorts_by_closures() {
    let wanted = "\
upwards:     [-23, -16, -4, 1, 8, 15, 30, 42]
by distance: [1, -4, 8, 15, -16, -23, 30, 42]
compared:    each
callbacks:   0 alive
";
    assert_eq!(qsort::run().unwrap(), wanted);
}

#[test]
fn sqlite_calls_closures_until_they_are_finalized() {
    let printed = match sqlite::run() {
        Err(error) if error.is::<sqlite::NoSqlite>() => {
            let required = std::env::var("FING_REQUIRE_ORACLES").is_ok_and(|value| value == "1");
            assert!(!required, "{error}: scripts/install-oracles installs it");
            eprintln!("{error}: test skipped");
            return;
        }
        printed => printed.unwrap(),
    };
    let wanted = "\
bolt|0.625|0.5
gear|10.0|10.0
2 callbacks of closures
3 before a collection
2 after it
bolt|3.5|3.5
gear|11.0|11.0
0 after the database was closed
finalizers run: 3
";
    assert_eq!(printed, wanted);
}
