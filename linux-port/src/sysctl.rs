//! Kernel settings under /proc/sys that virtual MAC addresses need.
