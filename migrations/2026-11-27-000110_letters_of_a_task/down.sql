DROP INDEX dead_letters_task;
