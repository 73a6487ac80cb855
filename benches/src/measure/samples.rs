//! Arithmetic on samples.
#![forbid(unsafe_code)]

/// A median, with the smallest and the largest sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// How many samples there are.
    pub(crate) runs: usize,
}

impl Summary {
    /// `None` if there are no samples.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (middle, runs) = (sorted.len() / 2, sorted.len());
        let median = if runs % 2 == 1 {
            *sorted.get(middle)?
        } else {
            (sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0
        };
        Some(Summary {
            median,
            min: *sorted.first()?,
            max: *sorted.last()?,
            runs,
        })
    }
}

/// As many digits as a person reads: `0.042`, `0.42`, `4.2`, `42`, `4200`.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.095 => format!("{value:.3}"),
        v if v < 1.0 => format!("{value:.2}"),
        v if v < 10.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A number of objects: `10k`, `1M`.
pub(crate) fn count(objects: usize) -> String {
    match objects {
        n if n >= 1_000_000 && n.is_multiple_of(1_000_000) => format!("{}M", n / 1_000_000),
        n if n >= 1000 && n.is_multiple_of(1000) => format!("{}k", n / 1000),
        n => n.to_string(),
    }
}

/// Parses a number of objects, as [`count`] writes it.
///
/// # Errors
/// It is not a number from 100 to 100M.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|objects| (100..=100_000_000).contains(objects))
        .ok_or_else(|| format!("found {text:?}, wanted 100 to 100M objects, such as 10k"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries() {
        assert_eq!(Summary::of([]), None);
        let summary = Summary::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.0, 1.0, 3.0));
        assert_eq!(Summary::of([1.0, 2.0]).unwrap().median, 1.5);
    }

    #[test]
    fn numbers() {
        assert_eq!(
            [0.0, 0.0423, 0.423, 4.23, 42.3].map(figure),
            ["0", "0.042", "0.42", "4.2", "42"]
        );
        assert_eq!(
            [500, 10_000, 1_500_000, 2_000_000].map(count),
            ["500", "10k", "1500k", "2M"]
        );
        assert_eq!(parse_count("10k"), Ok(10_000));
        assert_eq!(parse_count("2M"), Ok(2_000_000));
        for wrong in ["", "k", "-1", "99", "1G", "18446744073709551615M"] {
            assert!(parse_count(wrong).is_err(), "{wrong}");
        }
    }
}
