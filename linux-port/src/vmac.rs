//! Virtual MAC addresses as macvlans.
