# Makes the bench as a library, from the same objects as its program. Verilator's Vtop.mk must be read before it.

library.so: $(filter-out verilator.o,$(VK_USER_OBJS)) $(VK_GLOBAL_OBJS) $(VM_PREFIX)__ALL.a
	$(LINK) -shared $^ $(LDLIBS) $(CFG_LDLIBS_THREADS) -o $@
