"""Which design choices make a model robust, and what would help this one."""
