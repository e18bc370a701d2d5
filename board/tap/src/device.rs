//! The Ethernet of this board: a TAP device of Linux. One system call a frame, none of which waits. The only `unsafe` of
//! this program is here, where a file becomes the device.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::libc;
use steadfast_firmware::device::FrameIo;
use steadfast_firmware::hardware::Busy;

/// `struct ifreq` as TUNSETIFF reads it (linux/if.h): 40 bytes where pointers have 8, 32 where they have 4.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

nix::ioctl_write_ptr_bad!(tunsetiff, nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()), Request);

/// An open TAP device.
#[derive(Debug)]
pub(crate) struct Tap {
    file: File,
}

impl Tap {
    /// Attaches to the device called `name`, which is made if it is not there.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let mut request = Request {
            name: [0; libc::IFNAMSIZ],
            flags: (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short,
            rest: [0; 22],
        };
        // One byte stays 0, to end the name.
        let place = request.name.get_mut(..name.len()).filter(|place| place.len() < libc::IFNAMSIZ);
        let place = place.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"))?;
        place.copy_from_slice(name.as_bytes());
        let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open("/dev/net/tun")?;
        // SAFETY: the descriptor is open, and the kernel reads and writes at most 40 bytes of `request`, which has as many
        // and lives until the call returns.
        unsafe { tunsetiff(file.as_raw_fd(), &raw mut request) }?;
        Ok(Self { file })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl FrameIo for Tap {
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        // A device that is down or gone reads as an error; `crate::link` hears of it.
        (&self.file).read(buffer).ok().filter(|&length| length > 0)
    }

    fn send(&mut self, frame: &[u8]) -> Result<(), Busy> {
        match (&self.file).write(frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Busy),
            // While the device is down, frames are lost, as on a wire that is not there.
            _ => Ok(()),
        }
    }
}
