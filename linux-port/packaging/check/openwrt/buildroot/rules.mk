# Of an OpenWrt buildroot, what the Makefile of the package needs to install something.
INCLUDE_DIR = $(TOPDIR)/include
INSTALL_DIR = install -d -m0755
INSTALL_BIN = install -m0755
INSTALL_CONF = install -m0600
LN = ln -sf
