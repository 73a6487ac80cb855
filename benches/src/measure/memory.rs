//! What /proc says about the memory of this process.
#![forbid(unsafe_code)]

use super::Fault;

/// Bytes of this process that are in memory, as a fast estimate: Linux counts pages of 4 KiB, and
/// may count late.
///
/// # Errors
/// The system does not say.
pub(crate) fn resident() -> Result<f64, Fault> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).ok_or("statm: no pages")?;
    // The size of a page of Linux on x86-64, the only machine that is measured.
    Ok(pages.parse::<f64>()? * 4096.0)
}

/// The memory of this process by mapping, counted exactly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mappings {
    /// Bytes in memory.
    pub(crate) resident: f64,
    /// Number of mappings.
    pub(crate) mappings: f64,
    /// Bytes in memory of stubs' code, each page counted once though it is mapped twice.
    pub(crate) code: f64,
    /// Number of mappings of stubs' code.
    pub(crate) code_mappings: f64,
    /// Bytes in memory of the allocator's own mapping, without the large blocks that it maps
    /// separately.
    pub(crate) heap: f64,
}

impl Mappings {
    /// Those of now.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn now() -> Result<Mappings, Fault> {
        let text = std::fs::read_to_string("/proc/self/smaps")?;
        let (mut all, mut is_code, mut is_heap) = (Mappings::default(), false, false);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Rss:"), Some(kilobytes)) => {
                    let bytes = kilobytes.parse::<f64>()? * 1024.0;
                    all.resident += bytes;
                    if is_code {
                        all.code = all.code.max(bytes);
                    }
                    if is_heap {
                        all.heap += bytes;
                    }
                }
                (Some(range), _) if !range.ends_with(':') => {
                    all.mappings += 1.0;
                    is_code = line.contains("memfd:fing-stubs");
                    is_heap = line.ends_with("[heap]");
                    all.code_mappings += f64::from(u8::from(is_code));
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_resident() {
        let all = || Mappings::now().unwrap().resident;
        let before = (resident().unwrap(), all());
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        for grown in [resident().unwrap() - before.0, all() - before.1] {
            assert!(grown > 60e6, "{grown} bytes for {}", touched.len());
        }
    }
}
