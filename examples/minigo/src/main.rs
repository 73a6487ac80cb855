//! The `minigo` command.
#![forbid(unsafe_code)]
fn main() {
    let file = std::env::args().nth(1).unwrap_or_default();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    println!("{:?}", minigo::check_text(&file, &text));
}
