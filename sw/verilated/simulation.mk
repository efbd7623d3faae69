# With Vtop.mk, Verilator's, before it: the bench as a library, of the objects that its program is made of.

library.so: $(filter-out verilator.o,$(VK_USER_OBJS)) $(VK_GLOBAL_OBJS) $(VM_PREFIX)__ALL.a
	$(LINK) -shared $^ $(LDLIBS) $(CFG_LDLIBS_THREADS) -o $@
