-- Viewers become members, who see less; their tokens stay valid, so no one is locked out.
UPDATE users SET role = 'member' WHERE role = 'viewer';
ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('admin', 'member'));
