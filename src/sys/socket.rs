//! Reading from a socket into memory that need not be cleared first.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

/// Receives at most `limit` bytes behind what `buffer` holds, and says how many; 0 at the stream's end. The buffer
/// grows as needed. Errors are the socket's.
pub fn receive_onto(socket: &impl AsFd, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    buffer.reserve(limit);
    let spare = buffer.spare_capacity_mut();
    let room = limit.min(spare.len());
    let count = SockRef::from(socket).recv(&mut spare[..room])?;
    assert!(
        count <= room,
        "the system wrote no more than there was room for"
    );
    let len = buffer.len() + count;
    // SAFETY: `recv` has initialised the first `count` bytes of the spare capacity.
    unsafe { buffer.set_len(len) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_come_behind_what_is_there() {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        sender.write_all(b"0123456789").unwrap();
        let mut buffer = b"ab".to_vec();
        assert_eq!(receive_onto(&receiver, &mut buffer, 4).unwrap(), 4);
        assert_eq!(receive_onto(&receiver, &mut buffer, 100).unwrap(), 6);
        assert_eq!(buffer, b"ab0123456789");
        drop(sender);
        assert_eq!(receive_onto(&receiver, &mut buffer, 4).unwrap(), 0);
        assert_eq!(buffer.len(), 12);
    }
}
