core.register_action("refuse", { "http-req" }, function(txn) txn:set_var("txn.seen", true) end, 0)
