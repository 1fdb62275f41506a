"""Help for people who choose a model: what the zoo holds, what each model costs, and which one fits a task."""
