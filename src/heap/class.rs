//! Size classes: the size of the cells for objects of a given size.
#![forbid(unsafe_code)]

/// Bytes of a block; blocks are aligned to it.
pub(super) const BLOCK: usize = 64 << 10;
/// Bytes in front of every object: the address of its type descriptor.
pub(super) const HEADER: usize = 8;
/// The first cell's offset in its block, so that payloads are aligned to 16.
pub(super) const FIRST: usize = 8;
/// The largest cell that shares a block with others.
pub(super) const MAX_SMALL: usize = 8 << 10;

/// Bytes of the cells, header included. All are multiples of 16.
pub(super) const CLASSES: [u16; 36] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
    1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 4608, 5120, 5632, 6144, 6656, 7168, 7680, 8192,
];

/// Class of a cell of `16 * index` bytes.
const CLASS_OF: [u8; MAX_SMALL / 16 + 1] = {
    let mut table = [0; MAX_SMALL / 16 + 1];
    let (mut index, mut class) = (0, 0);
    while index <= MAX_SMALL / 16 {
        if index * 16 > CLASSES[class] as usize {
            class += 1;
        }
        table[index] = class as u8;
        index += 1;
    }
    table
};

/// The class for a payload of this many bytes; `None`: the object gets blocks of its own.
pub(super) fn class_of(payload: usize) -> Option<usize> {
    if payload > MAX_SMALL - HEADER {
        return None;
    }
    Some(usize::from(CLASS_OF[(payload + HEADER).div_ceil(16)]))
}

/// Number of blocks for a payload that has no class. `None`: the size overflows.
pub(super) fn blocks_for(payload: usize) -> Option<usize> {
    Some(payload.checked_add(FIRST + HEADER)?.div_ceil(BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_the_smallest_that_fits() {
        for payload in 1..=MAX_SMALL - HEADER {
            let class = class_of(payload).unwrap();
            assert!(payload + HEADER <= usize::from(CLASSES[class]));
            assert!(class == 0 || payload + HEADER > usize::from(CLASSES[class - 1]));
        }
        assert_eq!(class_of(MAX_SMALL - HEADER + 1), None);
    }

    #[test]
    fn cells_keep_payloads_aligned() {
        assert_eq!((FIRST + HEADER) % 16, 0);
        assert!(CLASSES.iter().all(|cell| cell % 16 == 0));
        assert!(CLASSES.is_sorted());
    }

    #[test]
    fn large_objects_have_whole_blocks() {
        assert_eq!(blocks_for(BLOCK - 16), Some(1));
        assert_eq!(blocks_for(BLOCK - 15), Some(2));
        assert_eq!(blocks_for(usize::MAX - 3), None);
    }
}
