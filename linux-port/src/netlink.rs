//! rtnetlink: addresses, links and their changes.
