//! The vectors of the AN385's 32 interrupts. None of them is ever taken, because PRIMASK stays set; cortex-m-rt's own
//! table is for 240.

unsafe extern "C" {
    /// Of cortex-m-rt: stops, and the watchdog restarts.
    fn DefaultHandler();
}

#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [unsafe extern "C" fn(); 32] = [DefaultHandler; 32];
