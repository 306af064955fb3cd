"""Tell the cultivar of a wine from its chemistry: a small project of several modules."""
