//! Making a FIFO: mkfifo(3). Opening and writing one is std's matter.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes a FIFO that its owner alone may read and write.
///
/// # Errors
/// Of the system; `AlreadyExists` if there is anything of this name.
pub fn make(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the path is a string that outlives the call.
    super::check(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    #[test]
    fn made_once() {
        let path = std::env::temp_dir().join(format!("steadfast-fifo-{}", std::process::id()));
        make(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(make(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(path).unwrap();
    }
}
