//! CRC-64 as RDB files, DUMP payloads and cluster files carry it: Jones's polynomial, reflected,
//! initial value and final exclusive-or 0. Check value of "123456789": e9c6d914c4b8d9ca.

/// The polynomial 0xad93d23594c935a9 with its bits reversed.
const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9u64.reverse_bits();

/// `TABLES[n][b]`: what byte `b` adds to the checksum `n` bytes later.
static TABLES: [[u64; 256]; 16] = tables();

const fn tables() -> [[u64; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut later = 1;
    while later < 16 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u64 = tables[later - 1][byte];
            tables[later][byte] = (crc >> 8) ^ tables[0][(crc & 255) as usize];
            byte += 1;
        }
        later += 1;
    }
    tables
}

/// The checksum of `bytes`, going on from `seed` (0 at the start): `crc64(crc64(0, a), b)` is that of `a` then `b`.
pub fn crc64(seed: u64, bytes: &[u8]) -> u64 {
    let mut crc = seed;
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let word = u128::from_le_bytes(*block) ^ u128::from(crc);
        let mut next = 0;
        for (index, byte) in word.to_le_bytes().into_iter().enumerate() {
            next ^= TABLES[15 - index][usize::from(byte)];
        }
        crc = next;
    }
    for &byte in rest {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn check_value_and_any_split() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
        let mut prng = Prng::new(1);
        let mut bytes = vec![0; 10_000];
        prng.fill(&mut bytes);
        let slow = |bytes: &[u8]| {
            bytes.iter().fold(0u64, |crc, &byte| {
                (0..8).fold(crc ^ u64::from(byte), |crc, _| {
                    if crc & 1 == 1 {
                        (crc >> 1) ^ POLYNOMIAL
                    } else {
                        crc >> 1
                    }
                })
            })
        };
        for _ in 0..200 {
            let end = prng.below(bytes.len() as u64 + 1) as usize;
            let start = prng.below(end as u64 + 1) as usize;
            assert_eq!(
                crc64(crc64(0, &bytes[..start]), &bytes[start..end]),
                slow(&bytes[..end])
            );
        }
    }
}
