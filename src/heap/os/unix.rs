//! Unix: anonymous private mappings.

use std::io;
use std::ptr::NonNull;

/// A private, zero-filled, readable and writable range that costs memory only where it was touched.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: I12: this value alone owns the mapping; its contents are shared by the rules of `arena`.
unsafe impl Send for Mapping {}
// SAFETY: I12: as above; the methods of a shared reference touch no bytes.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `bytes` (a multiple of 64 KiB) of addresses.
    pub(crate) fn reserve(bytes: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
        // SAFETY: I12: a new anonymous mapping wherever the system likes; it replaces nothing.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(base.cast::<u8>()) {
            Some(base) => Ok(Mapping { base, bytes }),
            None => Err(io::Error::other("mmap returned address 0")),
        }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Releases the memory of a part to the system. It reads as zero afterwards.
    ///
    /// # Safety
    /// Nothing in `offset..offset + bytes` is in use.
    ///
    /// # Panics
    /// When the part is not inside the mapping.
    pub(crate) unsafe fn release(&self, offset: usize, bytes: usize) -> io::Result<()> {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "part of the mapping"
        );
        // SAFETY: I12: checked above to be inside this mapping; the caller promises that the part
        // is not in use.
        let status = unsafe {
            libc::madvise(
                self.base.as_ptr().add(offset).cast(),
                bytes,
                libc::MADV_DONTNEED,
            )
        };
        if status == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Bytes of the mapping that are in memory now.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn resident(&self) -> io::Result<usize> {
        const PAGE: usize = 4096;
        let mut pages = vec![0u8; self.bytes.div_ceil(PAGE)];
        // SAFETY: I12: this mapping; the vector has one byte for every page.
        let status =
            unsafe { libc::mincore(self.base.as_ptr().cast(), self.bytes, pages.as_mut_ptr()) };
        if status == 0 {
            Ok(pages.iter().filter(|&&page| page & 1 != 0).count() * PAGE)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: I12: this mapping; its only owner is being dropped, so nothing refers to it any
        // more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
