# `make install-NAME` does what the package NAME says for its installation, in DESTINATION.
define BuildPackage
install-$(1):
	$$(call Package/$(1)/install,$$(DESTINATION))
endef
