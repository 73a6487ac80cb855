//! What the repository's own checks share: Rust text without comments and strings, and its words.

/// Rust text in which comments, strings and characters are blank; line breaks stay where they are.
pub(crate) fn code(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest));
        let length = skipped.unwrap_or(first.len_utf8());
        let (token, after) = rest.split_at(length);
        match skipped {
            None => out.push(first),
            Some(_) => out.extend(token.chars().map(|c| if c == '\n' { c } else { ' ' })),
        }
        rest = after;
        // A whole word at a time, so that the `r` of `for"` never starts a raw string.
        if skipped.is_none() && is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out
}

/// Length of the comment at the start of `text`.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.strip_prefix("/*")?;
    Some(text.find("*/").map_or(text.len(), |end| end + 2))
}

/// Length of the string or character literal at the start of `text`. A lifetime is none.
fn literal(text: &str) -> Option<usize> {
    let after_prefix = text.trim_start_matches(['b', 'c']);
    if let Some(raw) = after_prefix.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = text.len() - raw.len() + hashes + 1;
            return Some(
                text[body..]
                    .find(&close)
                    .map_or(text.len(), |end| body + end + close.len()),
            );
        }
    }
    let start = text.len() - after_prefix.len();
    let quote = after_prefix
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\''))?;
    let mut characters = after_prefix.char_indices().skip(1);
    let mut count = 0;
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            // `'a` of a lifetime: a word not closed after one character.
            _ if quote == '\'' && count == 1 && c != '\'' && !after_prefix.starts_with("'\\") => {
                return None;
            }
            _ if c == quote => return Some(start + at + 1),
            _ => {}
        }
        count += 1;
    }
    None
}

/// Whether `c` may be part of a Rust word.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of `code`, in order.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}
